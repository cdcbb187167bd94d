"""A Flower app, as it is, on this machine and over hierfl's link."""
