"""Flower's FedAvg with the model and the data of a topology."""
