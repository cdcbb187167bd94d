"""The device as a client of its edge: a Flower ClientApp around it."""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from clients.device import Device
from hierfl.protocol.messages import Base, StepRequest, from_content, position, reply


def client_app(device: Device) -> ClientApp:
    """Return the app that moves a device to each base and votes on each step."""
    app = ClientApp()

    @app.train("base")
    def base(message: Message, context: Context) -> Message:
        round_, _ = position(message)
        return reply(message, device.move(round_, from_content(Base, message.content)))

    @app.train("vote")
    def vote(message: Message, context: Context) -> Message:
        return reply(
            message, device.vote(*position(message), from_content(StepRequest, message.content))
        )

    return app
