"""Git, asked by its program."""

import subprocess


def git(*arguments: str) -> str:
    """Return what git prints; nothing if it fails, or is not installed."""
    try:
        result = subprocess.run(("git", *arguments), capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return "" if result.returncode else result.stdout.strip()
