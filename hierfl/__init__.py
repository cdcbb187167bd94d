"""hierfl: hierarchical federated learning on real machines, one bit per coordinate and step."""

__version__ = "0.1.0"
