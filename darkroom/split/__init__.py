"""Stage `split`: train, val and test without leaks."""
