"""Text from outside in Markdown, such as class names."""

import re

# Control characters, surrogates, and what changes the direction of the text that follows.
HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def escaped(value: object, longest: int | None = None) -> str:
    """A text in Markdown: on one line, escaped so that it reads as it is, in a table too.

    Args:
        value: the text.
        longest: characters of it that are kept, so that names cannot fill a page.
    """
    line = " ".join(HIDDEN.sub(" ", str(value)).split())
    if longest and len(line) > longest:
        line = f"{line[:longest]}..."
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # An underscore between letters is literal; any other character that Markdown might take for markup is escaped.
    return re.sub(r"([\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", line)
