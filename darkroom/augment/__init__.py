"""Stage `augment`: random transforms, and new pictures made by them."""
