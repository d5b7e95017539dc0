"""The page on which people review labels."""
