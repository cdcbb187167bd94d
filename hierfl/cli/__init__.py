"""The command line."""

from hierfl.cli.main import main

__all__ = ["main"]
