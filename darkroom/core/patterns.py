"""Regular expressions in settings."""

import re
from typing import Annotated

from pydantic import AfterValidator


def first_match(pattern: str, text: str) -> str:
    """The first match of a regular expression, or of its first group that matched; empty if there is none."""
    match = re.search(pattern, text)
    return next(filter(None, match.groups() or [match[0]]), "") if match else ""


def _pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"it is not a regular expression ({error})") from None
    return pattern


Pattern = Annotated[str, AfterValidator(_pattern)]
