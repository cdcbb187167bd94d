"""Starts the processes of a federation on this machine, and ends them."""
