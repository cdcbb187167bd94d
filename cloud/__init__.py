"""The cloud: the root of the tree, which averages the edges' models and keeps the run's record."""
