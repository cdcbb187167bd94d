"""The device as a process of its own."""

from __future__ import annotations

from pathlib import Path

from clients.client_app import client_app
from clients.device import Device, DeviceSettings
from hierfl.config import Config
from hierfl.config.digest import agreed, digest
from hierfl.learning.loaded import known, load_data
from hierfl.learning.setup import fingerprint, make_trainer
from hierfl.learning.trainer import Trainer
from hierfl.link.client import LinkClient
from hierfl.link.enrol_client import EnrolClient
from hierfl.planning.plan import make_plan
from hierfl.process.gc_freeze import settle
from hierfl.protocol.checkpoint_store import CheckpointStore
from hierfl.protocol.enrolment import enrol
from hierfl.tls.policy import identity, warn_of_expiry


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
        HierflError: for a failure that the user can correct.
    """
    edge = config.edge(config.parent_of(name))
    credentials = identity(config, name)
    warn_of_expiry(credentials)
    towards = credentials.towards(edge.name) if credentials else None
    patience = patience or config.quorum.round_timeout
    trainer = _trainer(
        config,
        name,
        EnrolClient(
            edge.address,
            name,
            plan=digest(config).to_text(),
            token=token,
            patience=patience,
            heartbeat=config.quorum.heartbeat,
            credentials=towards,
        ),
    )
    model = trainer.model
    plan = make_plan(config, model.layout, model.buffer_layout.d)
    store = CheckpointStore(state, name, agreed(config))
    device = Device(name, DeviceSettings.of(config), plan, trainer, store)
    settle()
    LinkClient(
        edge.address,
        name,
        client_app(device),
        device.vote,
        model=fingerprint(config, model, trainer.task.facts),
        plan=plan.digest.to_text(),
        max_frame=plan.frame_limit,
        patience=patience,
        heartbeat=config.quorum.heartbeat,
        credentials=towards,
        token=token,
        on_welcome=lambda welcome: device.join(welcome.run),
        position=lambda: device.position,
    ).serve()
    device.finish()


def _trainer(config: Config, name: str, client: EnrolClient) -> Trainer:
    """Return the device's trainer; one with data of its own enrols first.

    The data set goes with this call, which cuts out the device's share of it.
    """
    data = load_data(config, name)
    facts = enrol(client, known(data)) if config.data.is_own else None
    return make_trainer(config, name, data, facts)
