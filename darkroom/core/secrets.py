"""Passwords, tokens and signatures in addresses: they are shown nowhere, and are read from environment variables."""

import os
import re

from darkroom.core.errors import UserError

# Names of a query's fields, such as X-Amz-Signature, sig, access_token, apikey.
_NAME = r"(?:[\w.-]*(?:token|secret|passw|pwd|signature|credential|auth|jwt|session)[\w.-]*|[\w.-]*key|sig|sas|pass)"
_FIELD = re.compile(rf"((?:^|[?&;\s]){_NAME}=)([^&;\s'\"]*)", re.IGNORECASE)
# A password may contain anything, but an @ behind a slash is mostly a part of a path.
_USER = re.compile(r"(?<=://)(?:[^\s/@:]*:\S*|[^\s/]*)@")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


def redact(text: str) -> str:
    """Return a text without the user names, passwords and signatures of the addresses in it."""
    return _FIELD.sub(r"\1", _USER.sub("", text))


def without_secrets(address: str) -> str:
    """Return an address in which every secret is the name of an environment variable, such as `$TOKEN`.

    Raises:
        ValueError: it has a password or a signature itself; says what to do without repeating it.
    """
    user = _USER.search(address)
    values = [value for _, value in _FIELD.findall(address)]
    values += [user.group()[:-1].partition(":")[2] or user.group()[:-1]] if user else []
    if all(_VARIABLE.fullmatch(value) for value in values if value):
        return address
    raise ValueError(
        "it has a secret, which would be copied to dvc.lock and MLflow: put that into an environment variable, such as "
        "TOKEN, and write $TOKEN in its place"
    )


def revealed(address: str) -> str:
    """Return an address with the values of the environment variables in it, to be used and never shown.

    Raises:
        UserError: a variable is not set.
    """
    for match in _VARIABLE.finditer(address):
        if (match[1] or match[2]) not in os.environ:
            raise UserError(f"{address} needs the environment variable {match[1] or match[2]}, which is not set.")
    return os.path.expandvars(address)
