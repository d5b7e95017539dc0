"""Downloads: an interrupted one resumes where it stopped, and no file is used before it is verified."""

import hashlib
import re
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from darkroom.core import paths
from darkroom.core.errors import UserError, environment_sentence
from darkroom.core.files import write_text
from darkroom.core.hashing import digest_lines, sha256
from darkroom.core.partial_files import remove
from darkroom.core.secrets import revealed
from darkroom.core.terminal import progress

ATTEMPTS = 6
FIRST_PAUSE = 1.0  # seconds; it doubles with each attempt
TIMEOUT = 30.0  # seconds without data
BLOCK = 64  # KiB read at a time: the most that an interruption loses


def fetch(url: str, digest: str | None) -> Path:
    """Download the file behind `url`, or find it in the cache.

    Args:
        url: http or https; environment variables such as $TOKEN stand for what is secret in it.
        digest: the expected SHA-256, or None.

    Raises:
        UserError: the file cannot be downloaded, or is not the expected one.
    """
    try:
        tail = unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2])
    except ValueError:
        raise UserError(f"download.url {url} is not an http or https address.") from None
    name = re.sub(r"[^\w.-]+", "_", tail)[-100:].strip("._") or "download"
    target = paths.cache() / "downloads" / hashlib.sha256(url.encode()).hexdigest()[:16] / name
    recorded = target.with_name(f"{name}.sha256")
    if target.is_file() and digest in (None, actual := sha256(target)) and _recorded(recorded) in (None, actual):
        print(f"{url} is already in {target.parent}.", flush=True)
        return target
    if target.exists():
        print(f"{target} is damaged or another file: {url} is downloaded again.", flush=True)
        remove(target)
    partial = target.with_name(f".{name}.partial")
    _download(url, partial)
    try:
        verify(partial, digest, f"the file from {url}")
    except UserError:
        partial.unlink()  # the next attempt must not resume it
        raise
    write_text(recorded, digest_lines([partial], partial.parent))
    partial.replace(target)
    _validator(partial).unlink(missing_ok=True)
    return target


def _recorded(file: Path) -> str | None:
    """The SHA-256 that was recorded when a file was downloaded; None if there is no record."""
    return file.read_text(encoding="utf-8", errors="replace").partition(" ")[0] if file.is_file() else None


def verify(path: Path, digest: str | None, name: str) -> None:
    """Compare a file with `download.sha256`; errors call it `name`.

    Raises:
        UserError: its SHA-256 differs.
    """
    if digest and (actual := sha256(path)) != digest:
        raise UserError(f"{name} has SHA-256 {actual}, but download.sha256 is {digest}: it is not the same file.")


def _download(url: str, partial: Path) -> None:
    """Complete `partial`, starting after the bytes that it has; wait and retry if the server or connection fails."""
    import requests
    import urllib3.exceptions

    problem, failures, previous_size = "", 0, -1
    while failures < ATTEMPTS:
        if problem:
            pause = FIRST_PAUSE * 2 ** max(failures - 1, 0)
            print(f"{url}: {problem}; retrying in {pause:.0f} s", flush=True)
            time.sleep(pause)
        try:
            partial.parent.mkdir(parents=True, exist_ok=True)
            if _resume(url, partial):
                return
            problem = "the connection was interrupted"
        except requests.HTTPError as error:
            problem = f"the server answered {error.response.status_code} {error.response.reason}"
            if error.response.status_code < 500 and error.response.status_code not in (408, 429):
                break
        except (
            requests.exceptions.MissingSchema,
            requests.exceptions.InvalidSchema,
            requests.exceptions.InvalidURL,
            urllib3.exceptions.LocationValueError,
            UnicodeError,
        ):
            raise UserError(f"download.url {url} is not an http or https address.") from None
        except (OSError, urllib3.exceptions.HTTPError) as error:  # among the first are those of requests
            if sentence := environment_sentence(error):  # waiting does not help
                raise UserError(f"{url} cannot be downloaded: {sentence}") from None
            if not isinstance(error, requests.RequestException | urllib3.exceptions.HTTPError):
                raise
            problem = f"no connection ({type(error).__name__})"
        size = _size(partial)
        failures = failures + 1 if size <= previous_size else 1  # a connection that makes progress may fail often
        previous_size = size
    raise UserError(f"{url} cannot be downloaded: {problem}. Check download.url and the network.")


def _resume(url: str, partial: Path) -> bool:
    """Append the missing bytes and return whether the file is then complete.

    The validator that the server sent with the first bytes is sent back as `If-Range`, so that a file that has been
    replaced on the server since starts again instead of becoming a mixture.
    """
    import requests

    size = _size(partial)
    validator = _validator(partial)
    headers = {"Accept-Encoding": "identity"}
    if size:
        headers["Range"] = f"bytes={size}-"
        if validator.exists() and (sent := validator.read_text(errors="replace")):
            # A damaged one matches no file, so that the server sends the whole file.
            headers["If-Range"] = re.sub(r"[^ -~]", "?", sent)
    with requests.get(revealed(url), headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416:  # all bytes are here, or the file has been replaced
            complete = response.headers.get("Content-Range", "") == f"bytes */{size}"
            if not complete:
                partial.unlink()
            return complete
        response.raise_for_status()
        resumes = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {size}-")
        tag = response.headers.get("ETag", "W/")
        tag = response.headers.get("Last-Modified", "") if tag.startswith("W/") else tag
        if response.status_code == 206 and (not resumes or tag != headers.get("If-Range", tag)):
            partial.unlink()  # not the requested range, or of another file
            return False
        size = size if resumes else 0
        validator.write_text(tag)
        length = int(response.headers.get("Content-Length", -1))
        blocks = response.raw.stream(BLOCK * 1024, decode_content=False)  # a .tar.gz stays compressed
        with partial.open("ab" if size else "wb") as stream:
            for block in progress(blocks, max(length, 0) // 1024 + 1, f"downloading {url}", unit="KiB", step=BLOCK):
                stream.write(block)
    return length < 0 or _size(partial) == size + length


def _size(partial: Path) -> int:
    return partial.stat().st_size if partial.exists() else 0


def _validator(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.validator")
