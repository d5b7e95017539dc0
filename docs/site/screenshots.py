"""Take the documentation's pictures of the report and of the review page in a browser, from a real run.

    python docs/site/screenshots.py PROJECT

PROJECT is a clone in which `make recipe NAME=flowers_vgg16_features` has run; Debian's package chromium must be there.
"""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

DOCS = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT = 1280, 900
QUALITY = 80  # of JPEG
SECONDS = 60  # until a server answers


@contextmanager
def served(project: Path) -> Iterator[str]:
    """The address of the review page, as long as the block lasts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "darkroom", "review", "--port", str(port), "--author", "Ada"]
    with subprocess.Popen(command, cwd=project) as process:
        try:
            for _ in range(SECONDS):
                with socket.socket() as client:
                    if client.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def save(page: Any, name: str) -> None:
    """Write what is visible."""
    page.screenshot(path=DOCS / name, type="jpeg", quality=QUALITY)


def report(page: Any, project: Path) -> None:
    """The beginning of the report, and its map with a mistake selected."""
    page.goto((project / "reports/report.html").resolve().as_uri())
    save(page, "report.jpg")
    page.add_style_tag(content="html { scroll-behavior: auto }")
    page.evaluate("document.getElementById('map').scrollIntoView()")
    page.evaluate("select(data.label.findIndex((_, row) => isWrong(row)), false)")
    save(page, "report_map.jpg")


def review(page: Any, address: str) -> None:
    """The first picture that the review page shows."""
    page.goto(address, wait_until="networkidle")
    save(page, "review_page.jpg")


def main() -> None:
    """Take all of them."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    project = Path(sys.argv[1])
    with sync_playwright() as playwright, served(project) as address:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        report(page, project)
        review(page, address)
        browser.close()


if __name__ == "__main__":
    main()
