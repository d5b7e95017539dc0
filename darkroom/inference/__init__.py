"""Exported models: loading them, and predicting many pictures."""
