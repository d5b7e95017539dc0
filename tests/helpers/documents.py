"""The project's own documents: what they tell people to type is what tests type."""

import re

from tests.helpers.project import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def block(part: str) -> str:
    """The only block of commands that contains `part`."""
    (found,) = [text for text in re.findall(r"```sh\n(.*?)```", TEXT, re.S) if part in text]
    return found


def line(part: str) -> str:
    """The only line of a block of commands that contains `part`, without its comment."""
    lines = [line for text in re.findall(r"```sh\n(.*?)```", TEXT, re.S) for line in text.splitlines() if part in line]
    (found,) = {line.partition("  #")[0].rstrip() for line in lines}
    return found
