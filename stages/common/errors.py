"""The one exception whose message is meant for the user."""


class StageError(Exception):
    """Bad input: one sentence that names the thing and the remedy. A stage that meets it ends with exit code 1."""
