"""The model in other formats, and what is asked of it there."""
