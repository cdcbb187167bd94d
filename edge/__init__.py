"""The edge: a Flower server for its cluster's devices, and a client of the cloud."""
