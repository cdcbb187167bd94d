"""The numbers of hierfl: layouts, packed signs, votes, tallies and codecs. NumPy only.

Everything here takes and returns arrays and bytes. Nothing reads a file, a clock or a global
random state, and everything that two nodes must agree on is exact on every processor.
"""
