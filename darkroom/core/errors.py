"""The exception whose message is meant for the user."""


class UserError(Exception):
    """Bad input or circumstances: one sentence that names the problem and its remedy. The program exits with code 1."""
