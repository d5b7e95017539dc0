"""Whether a server can be reached."""

import threading
import urllib.error
import urllib.request

PROBE_SECONDS = 5.0


def reachable(url: str, seconds: float = PROBE_SECONDS) -> bool:
    """Whether the server behind `url` answers a HEAD request well within `seconds`, name resolution included."""
    answers: list[bool] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - the caller's own https or http address
            with urllib.request.urlopen(request, timeout=seconds) as response:  # noqa: S310
                answers.append(response.status < 400)
        except (OSError, ValueError):
            answers.append(False)

    # Name resolution knows no timeout of its own, so a thread asks that may be left behind.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answers and answers[0])
