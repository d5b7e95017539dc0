"""Unpacking of untrusted archives: zip, 7z, and tar with any compression that Python's modules know."""
