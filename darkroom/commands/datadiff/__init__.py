"""The command that compares two versions of the data."""
