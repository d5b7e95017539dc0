"""Network access."""

import threading
import urllib.error
import urllib.request

PROBE_SECONDS = 5.0


def reachable(url: str, seconds: float = PROBE_SECONDS) -> bool:
    """Whether `url` answers a HEAD request without an error within `seconds`, name resolution included."""
    answers: list[bool] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - callers pass http(s) addresses
            with urllib.request.urlopen(request, timeout=seconds) as response:  # noqa: S310
                answers.append(response.status < 400)
        except (OSError, ValueError):
            answers.append(False)

    # Name resolution has no timeout, so a thread that can be abandoned does the asking.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answers and answers[0])
