"""Mutual TLS: a federation's own CA, one certificate per node, and who must show one.

A certificate says who a node is (its name in the topology) and what it may be: the cloud only a
parent, a device only a child, an edge both.
"""
