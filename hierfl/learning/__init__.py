"""Models, data sets and gradients: the only part of hierfl that imports torch.

Importing the package alone does not load torch; its modules do.
"""
