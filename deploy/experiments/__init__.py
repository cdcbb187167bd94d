"""Experiments: many runs of one topology, and what they say together."""
