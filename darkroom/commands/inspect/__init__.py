"""What a folder of pictures is like, and which settings suit it."""
