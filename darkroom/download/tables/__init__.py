"""Tables that list pictures with their labels: their rows, the files they mean, and the source that they make."""
