"""hierfl on Flower's own engine: SuperLinks and SuperNodes run it, links carry the votes.

One `flwr run` cascades. The cloud's ServerApp sends each edge's SuperNode one long message; the
edge's ClientApp submits the same app to the edge's own SuperLink; the ServerApp that starts there
sends each device's SuperNode one long message; the device's ClientApp dials the edge's link and
votes until the run is over. Then all replies return up the tree.
"""
