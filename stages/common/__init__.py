"""What two or more stages share: here what all need, in folders the rest by subject, one subject per file."""
