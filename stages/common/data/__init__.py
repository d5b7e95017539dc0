"""From a source to pictures that can be trusted: the subjects of download, split, augment and datadiff."""
