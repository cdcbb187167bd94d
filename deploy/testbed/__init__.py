"""A network of one's own on one machine: every node in a namespace, every link shaped.

A testbed is a tree of network namespaces: one for each node, and one, the *switch*, that holds a
bridge for each cluster and one, the core, between the edges and the cloud. A veth pair joins a
node's interface to its port at a bridge. Nothing of it is in the machine's own namespace.
"""
