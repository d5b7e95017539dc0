"""Whether pages can be used by everybody, by the rules of axe-core."""

from collections.abc import Callable
from typing import Any

from axe_playwright_python.sync_playwright import Axe


def violations(window: Callable[..., Any], address: str, ready: str = "body") -> list[tuple[str, str]]:
    """Broken rules, each with an element: contrast, names of images and regions, headings, what the keyboard reaches.

    Args:
        window: the fixture that opens a page.
        address: of the page, which is shown on a telephone and a screen, light and dark.
        ready: a selector of what is visible once the page is complete.
    """
    found = []
    for width in (390, 1280):
        for scheme in ("light", "dark"):
            page, *_ = window(width, color_scheme=scheme, bypass_csp=True)
            page.goto(address)
            page.locator(ready).wait_for()
            found += [(item["id"], item["nodes"][0]["html"]) for item in Axe().run(page).response["violations"]]
    return found
