"""The device as a client of its edge: what it answers once a round, as a Flower ClientApp."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from clients.device import Device
from hierfl.protocol.messages import Base, Redo, from_content, reply, round_of

ALONE: AbstractContextManager[object] = nullcontext()
"""Held by a device that computes alone in its process."""


def client_app(device: Device, computing: AbstractContextManager[object] = ALONE) -> ClientApp:
    """Return the app that moves a device to each base; `Device.vote` answers each step.

    Args:
        device: the device.
        computing: held while it computes.
    """
    app = ClientApp()

    @app.train("base")
    def base(message: Message, context: Context) -> Message:
        content = from_content(Base, message.content)
        with computing:
            return reply(message, device.move(round_of(message), content))

    @app.train("redo")
    def redo(message: Message, context: Context) -> Message:
        content = from_content(Redo, message.content)
        with computing:
            return reply(message, device.redo(round_of(message), content))

    return app
