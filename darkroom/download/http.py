"""Download a file: a broken download goes on where it stopped, and nothing is used before it is verified."""

import hashlib
import re
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from darkroom.core import paths
from darkroom.core.errors import UserError
from darkroom.core.hashing import sha256
from darkroom.core.terminal import progress

ATTEMPTS = 6
FIRST_PAUSE = 1.0  # seconds; each next one is twice as long
TIMEOUT = 30.0  # seconds without a byte
KIB = 64  # read at a time: what a break can lose


def fetch(url: str, digest: str | None) -> Path:
    """The file behind `url`, from the cache where it is there already.

    Args:
        url: http or https.
        digest: SHA-256 that the file must have, or None.

    Raises:
        UserError: the server does not give the file, or not the right one.
    """
    try:
        last = unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2])
    except ValueError:
        raise UserError(f"download.url {url} is no http or https address.") from None
    name = re.sub(r"[^\w.-]+", "_", last)[-100:].strip("._") or "download"
    target = paths.cache() / "downloads" / hashlib.sha256(url.encode()).hexdigest()[:16] / name
    if target.exists() and (digest is None or sha256(target) == digest):
        print(f"{url} is in {target.parent} already.", flush=True)
        return target
    partial = target.with_name(f".{name}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    _download(url, partial)
    try:
        verify(partial, digest, f"what {url} gave")
    except UserError:
        partial.unlink()  # or the next attempt would go on with it
        raise
    partial.replace(target)
    _validator(partial).unlink(missing_ok=True)
    return target


def verify(path: Path, digest: str | None, what: str) -> None:
    """Compare a file with `download.sha256`.

    Raises:
        UserError: it has another SHA-256.
    """
    if digest and (found := sha256(path)) != digest:
        raise UserError(f"{what} has SHA-256 {found}, but download.sha256 is {digest}: it is not the same file.")


def _download(url: str, partial: Path) -> None:
    """Fill `partial`, going on behind the bytes that it has; wait and try again where a server or the line fails."""
    import requests
    import urllib3.exceptions

    said, failures, before = "", 0, -1
    while failures < ATTEMPTS:
        if said:
            pause = FIRST_PAUSE * 2 ** max(failures - 1, 0)
            print(f"{url}: {said}; trying again in {pause:.0f} s", flush=True)
            time.sleep(pause)
        try:
            if _more(url, partial):
                return
            said = "the line broke"
        except requests.HTTPError as error:
            said = f"the server answered {error.response.status_code} {error.response.reason}"
            if error.response.status_code < 500 and error.response.status_code not in (408, 429):
                break
        except (
            requests.exceptions.MissingSchema,
            requests.exceptions.InvalidSchema,
            requests.exceptions.InvalidURL,
            urllib3.exceptions.LocationValueError,
            UnicodeError,
        ):
            raise UserError(f"download.url {url} is no http or https address.") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            said = f"no connection ({type(error).__name__})"
        have = partial.stat().st_size if partial.exists() else 0
        failures, before = (failures + 1 if have <= before else 1), have  # a line that brings something may break often
    raise UserError(f"{url} cannot be downloaded: {said}. Check download.url and the network.")


def _more(url: str, partial: Path) -> bool:
    """Append what is missing; whether the file is whole then.

    The validator that the server sent with the first bytes goes back with `If-Range`, so that a file which was replaced
    on the server in between starts again instead of becoming a mixture.
    """
    import requests

    have = partial.stat().st_size if partial.exists() else 0
    validator = _validator(partial)
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator.exists() and (said := validator.read_text()):
            headers["If-Range"] = said
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416:  # nothing is behind what is there, or the file is another one now
            whole = response.headers.get("Content-Range", "") == f"bytes */{have}"
            if not whole:
                partial.unlink()
            return whole
        response.raise_for_status()
        goes_on = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        tag = response.headers.get("ETag", "W/")
        tag = response.headers.get("Last-Modified", "") if tag.startswith("W/") else tag
        if response.status_code == 206 and (not goes_on or tag != headers.get("If-Range", tag)):
            partial.unlink()  # another part than was asked for, or of another file
            return False
        have = have if goes_on else 0
        validator.write_text(tag)
        length = int(response.headers.get("Content-Length", -1))
        blocks = response.raw.stream(KIB * 1024, decode_content=False)  # a .tar.gz stays one
        with partial.open("ab" if have else "wb") as stream:
            for block in progress(blocks, max(length, 0) // 1024 + 1, f"downloading {url}", unit="KiB", each=KIB):
                stream.write(block)
    return length < 0 or partial.stat().st_size == have + length


def _validator(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.validator")
