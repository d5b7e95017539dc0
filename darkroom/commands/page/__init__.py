"""A page in the browser to try the exported model."""
