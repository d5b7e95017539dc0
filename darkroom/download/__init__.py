"""Stage `download`: sources of labelled pictures, validation, near-duplicates."""
