"""The edge as a client of the cloud: a Flower ClientApp around its cluster."""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from edge.cluster import Cluster
from hierfl.protocol.messages import Base, Round, from_content, reply, round_of


def client_app(cluster: Cluster) -> ClientApp:
    """Return the app that moves a cluster to each base and runs each round."""
    app = ClientApp()

    @app.train("base")
    def base(message: Message, context: Context) -> Message:
        content = from_content(Base, message.content)
        return reply(message, cluster.move(round_of(message), content))

    @app.train("round")
    def round_(message: Message, context: Context) -> Message:
        content = from_content(Round, message.content)
        return reply(message, cluster.run(round_of(message), content.opening))

    return app
