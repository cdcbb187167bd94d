"""The device as a process of its own."""

from __future__ import annotations

import torch

from clients.client_app import client_app
from clients.device import Device
from hierfl.config import Config
from hierfl.learning.datasets import load_dataset
from hierfl.learning.flat import FlatModel
from hierfl.learning.models import build_model
from hierfl.learning.partition import partition
from hierfl.learning.split import Data
from hierfl.learning.trainer import Trainer
from hierfl.link.client import LinkClient
from hierfl.plan import digest, longest_frame


def make_device(config: Config, name: str, data: Data) -> tuple[Device, FlatModel]:
    """Return a device of a resolved configuration, with its shard of the data, and its model.

    Raises:
        ConfigError: if the partition leaves the device without samples.
    """
    chosen = config.data.partition
    options = chosen.model_dump(exclude={"kind"})
    shards = partition(
        data.train.labels.numpy(), config.tree(), chosen.kind, seed=config.seed, **options
    )
    split = data.train.take(torch.from_numpy(shards[name]))
    module = build_model(config.model, shape=data.shape, classes=data.classes, seed=config.seed)
    model = FlatModel(module)
    return Device(name, config, Trainer(model, split, config.algorithm.batch_size)), model


def run(config: Config, name: str) -> None:
    """Serve one device of a resolved configuration until the run is done.

    Raises:
        HierflError: whatever a person can put right.
    """
    edge = config.edge(config.parent_of(name))
    data = load_dataset(config.data.dataset, config.data.root)
    device, model = make_device(config, name, data)
    del data
    LinkClient(
        edge.address,
        name,
        client_app(device),
        model=model.layout.fingerprint(),
        plan=digest(config),
        max_frame=longest_frame(model.layout, model.buffer_layout.d),
        patience=config.quorum.round_timeout,
    ).serve()
