"""The one exception whose message is meant for the user."""


class UserError(Exception):
    """Bad input: one sentence that names the thing and the remedy. The program that meets it ends with exit code 1."""
