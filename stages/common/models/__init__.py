"""What pictures go through: networks of others and of one's own, heads, and what goes into them."""
