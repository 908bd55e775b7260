"""Nothing is on it."""
