"""Running a commit again elsewhere, and comparing every output."""
