"""hierfl on Flower's engine: SuperLinks and SuperNodes run the nodes, hierfl's links carry votes.

One `flwr run` starts the whole tree. The cloud's ServerApp sends each edge's SuperNode one message,
whose ClientApp runs until the end. It submits the same app to the edge's own SuperLink. The
ServerApp that starts there sends each device's SuperNode one message. The device's ClientApp
connects to the edge's link and votes until the run is over. Then the replies return up the tree.
"""
