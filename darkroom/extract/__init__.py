"""Feature extraction: the forward pass and the cache of features."""
