"""Commands of `python -m darkroom`, one module or folder each."""
