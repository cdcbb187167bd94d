"""quickstart_pytorch: a Flower app."""
