"""A federation in containers."""
