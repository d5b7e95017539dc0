"""Pictures on disk: decoding, and folders of labelled pictures."""
