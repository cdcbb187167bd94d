"""Federations in containers."""
