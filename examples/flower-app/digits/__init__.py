"""FedAvg on scikit-learn's digits."""
