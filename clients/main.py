"""The device as a process of its own."""

from __future__ import annotations

from pathlib import Path

from clients.client_app import client_app
from clients.device import Device
from hierfl.config import Config
from hierfl.config.digest import agreed
from hierfl.learning.setup import load_data, make_trainer
from hierfl.link.client import LinkClient
from hierfl.planning.plan import make_plan
from hierfl.process.gc_freeze import settle
from hierfl.protocol.checkpoint_store import CheckpointStore
from hierfl.tls.policy import identity


def run(
    config: Config, name: str, state: Path, *, token: str = "", patience: float | None = None
) -> None:
    """Serve one device of a resolved configuration until the run is done.

    Args:
        config: the configuration.
        name: the device's name.
        state: the folder of its checkpoints.
        token: the secret of its edge's link, where there is one.
        patience: seconds without its edge after which it gives up; None: `round_timeout`.

    Raises:
        HierflError: whatever a person can put right.
    """
    edge = config.edge(config.parent_of(name))
    credentials = identity(config, name)
    # The data set goes with the call that cuts out the device's share of it.
    trainer = make_trainer(config, name, load_data(config, name))
    model = trainer.model
    plan = make_plan(config, model.layout, model.buffer_layout.d)
    store = CheckpointStore(state, name, agreed(config))
    device = Device(name, config, plan, trainer, store)
    settle()
    LinkClient(
        edge.address,
        name,
        client_app(device),
        device.vote,
        model=model.fingerprint(),
        plan=plan.digest.to_text(),
        max_frame=plan.frame_limit,
        patience=patience or config.quorum.round_timeout,
        heartbeat=config.quorum.heartbeat,
        credentials=credentials.towards(edge.name) if credentials else None,
        token=token,
        on_welcome=lambda welcome: device.join(welcome.run),
        position=lambda: device.position,
    ).serve()
    device.finish()
