"""A run as a live page for a browser; imported only where one is asked for."""
