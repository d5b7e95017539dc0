"""Minutes, memory and disk that a run will take."""
