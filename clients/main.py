"""One or several devices as a process.

Each has its own stream, data, state and identity. Their gradients are taken one after the other:
on a processor's core they would share, more at a time would be no faster.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from clients.client_app import client_app
from clients.device import Device, DeviceSettings
from clients.together import together
from hierfl.config import Config
from hierfl.config.digest import agreed, digest
from hierfl.learning.loaded import known, load_data
from hierfl.learning.setup import fingerprint, make_trainer
from hierfl.learning.trainer import Trainer
from hierfl.link import link_pb2 as pb
from hierfl.link.client import LinkClient
from hierfl.link.enrol_client import EnrolClient
from hierfl.link.loop import LinkLoop
from hierfl.planning.plan import make_plan
from hierfl.process.gc_freeze import freeze_heap
from hierfl.protocol.checkpoint_store import CheckpointStore
from hierfl.protocol.enrolment import enrol
from hierfl.protocol.facts import Facts
from hierfl.tls.identity import Identity
from hierfl.tls.policy import identity, warn_of_expiry


def run(
    config: Config,
    names: Sequence[str],
    state: Path,
    *,
    token: str = "",
    patience: float | None = None,
) -> None:
    """Serve devices of a resolved configuration until the run is done.

    The first one that fails ends all.

    Args:
        config: the configuration.
        names: the devices' names.
        state: the folder of their checkpoints.
        token: the secret of their edges' links, where there is one.
        patience: seconds without its edge after which a device gives up; None: `round_timeout`.

    Raises:
        HierflError: for a failure that the user can correct.
    """
    identities = {name: identity(config, name) for name in names}
    for credentials in identities.values():
        warn_of_expiry(credentials)
    patience = patience or config.quorum.round_timeout
    trainers = _trainers(config, identities, token, patience)
    settings, computing = DeviceSettings.of(config), threading.Lock()
    with LinkLoop() as loop:

        def serve(name: str) -> None:
            trainer = trainers[name]
            model = trainer.model
            plan = make_plan(config, model.layout, model.buffer_layout.d)
            store = CheckpointStore(state, name, agreed(config))
            device = Device(name, settings, plan, trainer, store)

            def vote(request: pb.StepRequest) -> pb.Ballot | pb.OutOfSync:
                with computing:
                    return device.vote(request)

            edge, credentials = config.edge(config.parent_of(name)), identities[name]
            LinkClient(
                edge.address,
                name,
                client_app(device, computing),
                vote,
                model=fingerprint(config, model, trainer.task.facts),
                plan=plan.digest.to_text(),
                max_frame=plan.frame_limit,
                patience=patience,
                heartbeat=config.quorum.heartbeat,
                credentials=credentials.towards(edge.name) if credentials else None,
                token=token,
                loop=loop,
                on_welcome=lambda welcome: device.join(welcome.run),
                position=lambda: device.position,
            ).serve()
            device.finish()

        freeze_heap()
        together([partial(serve, name) for name in names])


def _trainers(
    config: Config, identities: Mapping[str, Identity | None], token: str, patience: float
) -> dict[str, Trainer]:
    """Return each device's trainer; those with data of their own enrol first, all at once.

    A data set that devices share is loaded once, and goes with this call, which cuts out shares.
    """
    if not config.data.is_own:
        shared = load_data(config, next(iter(identities)))
        return {name: make_trainer(config, name, shared) for name in identities}

    held = {name: load_data(config, name) for name in identities}

    def enrolled(name: str, credentials: Identity | None) -> Facts:
        edge = config.edge(config.parent_of(name))
        client = EnrolClient(
            edge.address,
            name,
            plan=digest(config).to_text(),
            token=token,
            patience=patience,
            heartbeat=config.quorum.heartbeat,
            credentials=credentials.towards(edge.name) if credentials else None,
        )
        return enrol(client, known(held[name]))

    facts = together([partial(enrolled, *each) for each in identities.items()])
    return {
        name: make_trainer(config, name, held[name], of_all)
        for name, of_all in zip(identities, facts, strict=True)
    }
