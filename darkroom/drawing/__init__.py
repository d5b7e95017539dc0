"""Contact sheets, and matplotlib set up once."""
