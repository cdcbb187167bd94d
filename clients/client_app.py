"""The device as a client of its edge: what it answers once a round, as a Flower ClientApp."""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from clients.device import Device
from hierfl.protocol.messages import Base, Redo, from_content, reply, round_of


def client_app(device: Device) -> ClientApp:
    """Return the app that moves a device to each base; `Device.vote` answers each step."""
    app = ClientApp()

    @app.train("base")
    def base(message: Message, context: Context) -> Message:
        content = from_content(Base, message.content)
        return reply(message, device.move(round_of(message), content))

    @app.train("redo")
    def redo(message: Message, context: Context) -> Message:
        content = from_content(Redo, message.content)
        return reply(message, device.redo(round_of(message), content))

    return app
