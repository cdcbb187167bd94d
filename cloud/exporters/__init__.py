"""Views that hand a run's figures to other programs, each through that program's own library."""
