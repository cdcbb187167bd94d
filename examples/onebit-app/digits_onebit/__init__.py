"""FedAvg on scikit-learn's digits, one bit per coordinate in both directions."""
