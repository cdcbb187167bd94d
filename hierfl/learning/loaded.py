"""What a node holds: its data, what is known of them, and its share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from hierfl.config import CLOUD, Config
from hierfl.errors import ConfigError, DataError
from hierfl.learning.data import Data, Node
from hierfl.learning.partition import Indices, partition
from hierfl.learning.prepare import Prepared, Standard
from hierfl.learning.samples import Samples, as_samples
from hierfl.learning.survey import labels_of, number_by, survey
from hierfl.learning.task import Task
from hierfl.learning.tasks import make_task
from hierfl.learning.torch_compat import declare_operators
from hierfl.learning.transforms import make_transform, transformed
from hierfl.learning.user_code import UserCodeError, guard, is_own
from hierfl.numerics.rng import generator
from hierfl.protocol.facts import Facts, merge

NO_FOLDER = "The folder that data.root names here"

_STREAM = 0x76616C69  # keeps these draws apart from all others that use the same seed


@dataclass(frozen=True)
class Loaded:
    """What a node holds, before models are built.

    Attributes:
        task: what is learnt.
        train: samples to learn from, as they are kept; None at a cloud without data.
        test: samples to be judged by; None: there are none.
        facts: of what is here; None where nothing is.
        data: what they are part of.
    """

    task: Task
    train: Samples | None
    test: Samples | None
    facts: Facts | None
    data: Data

    def held(self) -> Samples:
        """Return the samples to learn from, where there must be some.

        Raises:
            DataError: there are none.
        """
        if self.train is None:
            raise DataError("there are no samples to learn from here")
        return self.train


def node_of(config: Config, name: str) -> Node:
    """Return whose data the node of that name holds."""
    role = config.roles()[name]
    edge = config.parent_of(name) if role == "device" else ""
    return Node(name, edge, role, config.data_root(name) or Path("."))


def load_data(config: Config, name: str = CLOUD) -> Loaded:
    """Return what a node holds.

    Where all devices share one data set (any partition but `own`), that is the whole of it, at
    every node. A device with data of its own holds what it loads; `data.validation` of it is held
    out. A cloud holds what it loads to be judged by, and nothing where `data.root` is not there.

    Args:
        config: the configuration.
        name: a device's, or the cloud's.

    Raises:
        DataError: the data are not on this machine, or not as they should be.
        ConfigError: there is no such data set or task.
        UserCodeError: the user's own code fails.
    """
    declare_operators()
    task, node = make_task(config), node_of(config, name)
    if config.data.is_own and node.role == "cloud" and not _has_data(config, node):
        return Loaded(task, None, None, None, Data(None))
    try:
        with guard(_what(config)):
            data = task.load(node)
        if not isinstance(data, Data):
            raise DataError(f"load must return hierfl.Data, not {type(data).__name__}")
        with guard(_what(config)):
            return _loaded(config, task, node, data)
    except UserCodeError as error:
        if config.data.root is None or node.root.is_dir():
            raise
        raise UserCodeError(error.message, f"{NO_FOLDER}, {node.root}, is not there.") from error
    except DataError as error:
        raise DataError(f"{_where(config, name)}: {error.message}", error.hint) from error


def load_all(config: Config) -> tuple[dict[str, Loaded], Facts]:
    """Return what all nodes that hold data hold, and the facts about it together.

    Raises:
        HierflError: as `load_data`, or two nodes' data do not go together.
    """
    names = [name for name, role in config.roles().items() if role != "edge"]
    if not config.data.is_own:
        shared = load_data(config)
        return dict.fromkeys(names, shared), known(shared)
    held = {name: load_data(config, name) for name in names}
    by_edge = {
        edge: merge({name: known(held[name]) for name in devices})
        for edge, devices in config.tree().items()
    }
    cloud = held[CLOUD].facts
    return held, merge(by_edge | ({CLOUD: cloud} if cloud else {}))


def _has_data(config: Config, node: Node) -> bool:
    return config.data.root is not None and node.root.is_dir()


def _what(config: Config) -> str:
    return f"{config.task}.load" if is_own(config.task) else str(config.data.dataset)


def _where(config: Config, name: str) -> str:
    what = _what(config)
    return f"{name}, {what}" if config.data.is_own else what


def _loaded(config: Config, task: Task, node: Node, data: Data) -> Loaded:
    """Look at the data, and hold some out."""
    train, test = (
        None if half is None else _transformed(config, as_samples(half))
        for half in (data.train, data.test)
    )
    if train is None or not len(train) or (test is not None and not len(test)):
        raise DataError("there are no samples")
    moments = _wants_moments(config, data, train)
    facts = survey(data, train, task.targets, moments)
    if test is not None:
        judged = survey(data, test, task.targets, moments).without_samples()
        if difference := facts.difference(judged, "train", "test"):
            raise DataError(difference)
        facts = merge({"a": facts, "b": judged})
    if config.data.is_own and node.role == "cloud":
        return Loaded(task, None, test or train, facts.without_samples(), data)
    if config.data.validation:
        train, test = held_out(config, node, train)
    return Loaded(task, train, test, replace(facts, examples=len(train)), data)


def _transformed(config: Config, samples: Samples) -> Samples:
    if not config.data.transforms:
        return samples
    key = "data.transforms"
    return transformed(samples, make_transform(config.data.transforms, key), key)


def _wants_moments(config: Config, data: Data, samples: Samples) -> bool:
    """Return whether the inputs' moments will be needed to standardise them."""
    if config.data.standardize is not None:
        return config.data.standardize != "none"
    if data.standard is not None:
        return False
    first = samples.batch(slice(0, 1))
    inputs = first[0] if isinstance(first, tuple | list) and first else first
    if not isinstance(inputs, torch.Tensor) or inputs.is_complex():
        return False
    if inputs.dtype == torch.uint8:
        return inputs.ndim > 2  # an image; in one dimension they are tokens
    return data.raw and inputs.is_floating_point()


def held_out(config: Config, node: Node, samples: Samples) -> tuple[Samples, Samples]:
    """Return what is left of the samples, and the share of them that judges, drawn at random.

    Raises:
        DataError: one of the two would be empty.
    """
    total, share = len(samples), config.data.validation
    held = round(total * share)
    if not 0 < held < total:
        raise DataError(
            f"of {total} samples to train, {share:g} cannot be held out",
            "That is data.validation: neither part may be empty.",
        )
    if config.data.is_own:
        draw = generator(config.seed, node.name, 0, 0, "validation")
    else:
        sequence = np.random.SeedSequence([config.seed, _STREAM])
        draw = np.random.Generator(np.random.PCG64(sequence))
    order = draw.permutation(total)
    out, kept = (torch.from_numpy(np.sort(part)) for part in np.split(order, [held]))
    return samples.take(kept), samples.take(out)


def prepared(config: Config, loaded: Loaded, samples: Samples, facts: Facts) -> Prepared:
    """Return samples as the model gets them.

    Args:
        config: the configuration.
        loaded: what the samples are part of.
        samples: as they are kept.
        facts: of all nodes' data.
    """
    mode = config.data.standardize
    own = loaded.facts.inputs if mode == "device" and loaded.facts else None
    moments = own or facts.inputs
    standard = loaded.data.standard if mode is None else None
    if standard is None and mode != "none" and moments is not None and facts.shape is not None:
        standard = Standard.of(moments, facts.shape, facts.dtype)
    number = None
    if facts.labels:
        number = number_by([str(n) for n in loaded.data.labels or ()], facts.labels)
    return Prepared(samples, standard, number)


def share_out(config: Config, data: Loaded) -> dict[str, Indices]:
    """Return the positions in `data.train` of each device's samples.

    Raises:
        ConfigError: if the partition leaves a device without samples, or each has its own.
        DataError: if samples have no classes to be shared out by.
    """
    chosen = config.data.partition
    if chosen.kind == "own":
        raise ConfigError("data.partition", "each device has its own data: none are shared out")
    samples = data.held()
    labels = np.zeros(len(samples), np.int64) if chosen.kind == "iid" else labels_of(samples)
    options = chosen.model_dump(exclude={"kind"})
    tree = config.data.homes or config.tree()
    return partition(labels, tree, chosen.kind, seed=config.seed, **options)


def of_all(config: Config, data: Loaded) -> Facts:
    """Return what is known of all nodes' data by what this node holds: it must hold all of it.

    Raises:
        ConfigError: each device has data of its own.
        DataError: this node holds nothing.
    """
    if config.data.is_own:
        raise ConfigError(
            "data.partition",
            "each device has its own data: what all of it is like, no node knows by itself",
        )
    return known(data)


def known(data: Loaded) -> Facts:
    """Return the facts about a node's data, where there must be some.

    Raises:
        DataError: it holds none.
    """
    if data.facts is None:
        raise DataError("nothing is known about the data: this node holds none")
    return data.facts
