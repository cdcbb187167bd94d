"""Mutual TLS: a federation's own CA, one certificate per node, and where they are required.

A certificate holds the node's name in the topology and its roles: the cloud is a parent, a device a
child, an edge both.
"""
