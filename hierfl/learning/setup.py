"""From a configuration to a model and a device's share of the data."""

from __future__ import annotations

import torch

from hierfl.config import Config
from hierfl.learning.adversaries import RandomVote, Shout, SignFlip
from hierfl.learning.dataset import Data
from hierfl.learning.datasets import load_dataset
from hierfl.learning.flat_model import FlatModel
from hierfl.learning.models import build_model
from hierfl.learning.partition import Indices, partition
from hierfl.learning.trainer import Trainer
from hierfl.learning.warm_start import start_from


def load_data(config: Config) -> Data:
    """Return the configuration's data set, with its validation set as what judges if it has one.

    Raises:
        DataError: it is not on this machine, or not as it should be.
        ConfigError: there is no such data set.
    """
    data = load_dataset(config.data.dataset, config.data.root)
    share = config.data.validation
    return data.hold_out(share, config.seed) if share else data


def share_out(config: Config, data: Data) -> dict[str, Indices]:
    """Return the positions in `data.train` of each device's samples.

    Raises:
        ConfigError: if the partition leaves a device without samples.
    """
    chosen = config.data.partition
    options = chosen.model_dump(exclude={"kind"})
    tree = config.data.homes or config.tree()
    return partition(data.train.labels.numpy(), tree, chosen.kind, seed=config.seed, **options)


def make_model(config: Config, data: Data) -> FlatModel:
    """Return the configuration's model for a data set, with its first weights.

    Raises:
        ConfigError: if there is no such model, or it does not fit the data.
    """
    module = build_model(config.model, shape=data.shape, classes=data.classes, seed=config.seed)
    return FlatModel(module)


def first_model(config: Config, data: Data) -> FlatModel:
    """Return the model that holds the first base: that of `start_from`, or of the seed.

    Raises:
        ConfigError: as `make_model`, or the file cannot be read or is of another model.
    """
    model = make_model(config, data)
    if config.start_from is not None:
        start_from(model, config.start_from)
    return model


def make_trainer(config: Config, name: str, data: Data) -> Trainer:
    """Return the trainer of the device called `name`, with a copy of its samples.

    One that `faults` names gets a trainer that lies.

    Raises:
        ConfigError: if the partition leaves a device without samples.
    """
    split = data.train.take(torch.from_numpy(share_out(config, data)[name]))
    kinds = {"sign_flip": SignFlip, "random_vote": RandomVote, "shout": Shout}
    lie = next((kind for kind, names in config.faults if name in names), None)
    kind = kinds[lie] if lie else Trainer
    return kind(make_model(config, data), split, config.algorithm.batch_size)
