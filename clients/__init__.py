"""The device: a Flower client that votes on every step."""
