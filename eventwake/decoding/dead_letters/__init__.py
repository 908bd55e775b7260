"""One decoder for each convention by which the world marks a dead letter."""
