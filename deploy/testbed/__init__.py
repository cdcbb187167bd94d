"""Testbeds: every node in its own network namespace on one machine, with shaped links.

A testbed has one network namespace per node and one more, the *switch*, with a bridge for each
cluster and one, the core, between the edges and the cloud. A veth pair connects a node's interface
to its port at a bridge. Nothing is added to the machine's own namespace.
"""
