"""The search for a better head."""
