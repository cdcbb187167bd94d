"""From a configuration to a model and a device's share of the data."""

from __future__ import annotations

import torch

from hierfl.config import Config
from hierfl.learning.flat import FlatModel
from hierfl.learning.lies import RandomVote, SignFlip
from hierfl.learning.models import build_model
from hierfl.learning.partition import partition
from hierfl.learning.split import Data
from hierfl.learning.trainer import Trainer


def make_model(config: Config, data: Data) -> FlatModel:
    """Return the configuration's model for a data set, with its first weights.

    Raises:
        ConfigError: if there is no such model, or it does not fit the data.
    """
    module = build_model(config.model, shape=data.shape, classes=data.classes, seed=config.seed)
    return FlatModel(module)


def make_trainer(config: Config, name: str, data: Data) -> Trainer:
    """Return the trainer of the device called `name`, with a copy of its samples.

    One that `faults` names gets a trainer that lies.

    Raises:
        ConfigError: if the partition leaves a device without samples.
    """
    chosen = config.data.partition
    options = chosen.model_dump(exclude={"kind"})
    labels = data.train.labels.numpy()
    shards = partition(labels, config.tree(), chosen.kind, seed=config.seed, **options)
    split = data.train.take(torch.from_numpy(shards[name]))
    kind = Trainer
    if name in config.faults.sign_flip:
        kind = SignFlip
    elif name in config.faults.random_vote:
        kind = RandomVote
    return kind(make_model(config, data), split, config.algorithm.batch_size)
