"""Stage `extract`: features by the content of the picture."""
