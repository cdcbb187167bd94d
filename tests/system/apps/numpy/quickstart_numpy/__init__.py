"""quickstart_numpy: a Flower app."""
