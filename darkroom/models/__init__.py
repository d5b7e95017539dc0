"""What is trained: heads, networks, where a backbone is split, and the classifier on disk."""
