"""Episodes of a condition, and the events that tell of them."""
