"""quickstart_sklearn: a Flower app."""
