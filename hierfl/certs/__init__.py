"""The certificates of a federation: a CA of its own, and one certificate for each node.

A certificate says who a node is (its name in the topology) and what it may be: the cloud only a
parent, a device only a child, an edge both. Nothing here is needed while a federation runs.
"""

from hierfl.certs.make import CA_DAYS, DAYS, Certified, make_certificates, report

__all__ = ["CA_DAYS", "DAYS", "Certified", "make_certificates", "report"]
