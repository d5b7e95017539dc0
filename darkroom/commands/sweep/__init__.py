"""The command that searches for a better head."""
