"""Deployment: processes, machines, containers, testbeds and Flower's engine."""
