"""From a configuration to what a node holds, a model, and a device's trainer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hierfl.config import CLOUD, Config
from hierfl.errors import ConfigError, DataError
from hierfl.learning.adversaries import RandomVote, Shout, SignFlip
from hierfl.learning.data import Data, Node
from hierfl.learning.flat_model import FlatModel
from hierfl.learning.model_file import start_from
from hierfl.learning.partition import Indices, partition
from hierfl.learning.prepare import Prepared, Standard
from hierfl.learning.processor import processor
from hierfl.learning.samples import Samples, as_samples
from hierfl.learning.sources import FORMS
from hierfl.learning.survey import labels_of, number_by, survey
from hierfl.learning.task import Task
from hierfl.learning.tasks import Classification, Segmentation, make_task
from hierfl.learning.torch_compat import declare_operators
from hierfl.learning.trainer import Trainer
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
        raise DataError(f"of {total} samples to train, {share:g} cannot be held out")
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


def facts_for(config: Config) -> tuple[Task, Facts]:
    """Return a configuration's task and what is known of its data, as cheaply as can be.

    Of a built-in set nothing is loaded. Where each device has data of its own, those of the first
    device whose data are on this machine stand for all.

    Raises:
        HierflError: as `load_data`.
    """
    task = make_task(config)
    if not is_own(config.task) and config.data.dataset.name in FORMS:
        return task, FORMS[config.data.dataset.name]
    if not config.data.is_own:
        return task, known(load_data(config))
    devices = [device for edge in config.edges for device in edge.devices]
    here = [name for name in devices if node_of(config, name).root.is_dir()] or devices
    return task, known(load_data(config, here[0]))


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


def make_model(config: Config, data: Loaded, facts: Facts | None = None) -> FlatModel:
    """Return the configuration's model for what is known of the data, with its first weights.

    Args:
        config: the configuration.
        data: what this node holds.
        facts: of all nodes' data together; None: this node holds all there are.

    Raises:
        ConfigError: if there is no such model, or it does not fit the data.
        DataError: if the task cannot learn from such data.
        UserCodeError: if the user's own code fails.
    """
    return model_for(config, data.task, facts or of_all(config, data))


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


def model_for(config: Config, task: Task, facts: Facts) -> FlatModel:
    """Return the model of a task for data of which these facts are known; see `make_model`."""
    _refuse_targets(task, facts)
    task.facts = facts
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed % 2**63)
        with guard(f"{config.task}.build"):
            module = task.build(facts)
    if not isinstance(module, nn.Module):
        raise ConfigError(
            "task", f"build must return a torch.nn.Module, not a {type(module).__name__}"
        )
    return FlatModel(module.train())


def _refuse_targets(task: Task, facts: Facts) -> None:
    shape = facts.target_shape
    if isinstance(task, Segmentation) and shape is not None and len(shape) < 2:
        raise DataError(
            f"segmentation learns the class of each pixel; targets have the shape {shape}",
            "For one class for each sample there is task: classification.",
        )
    if isinstance(task, Classification) and shape not in (None, ()):
        raise DataError(
            f"classification learns one class for each sample; targets have the shape {shape}",
            "For a class for each pixel there is task: segmentation.",
        )
    if task.targets != "classes" or not facts.labels or isinstance(facts.labels[0], str):
        return
    if missing := sorted({*range(facts.classes)} - {*facts.labels}):
        raise DataError(
            f"no sample is of the class {missing[0]}, though there is a class {facts.labels[-1]}",
            "Number the classes 0, 1, 2, ... without gaps, or give them names: Data(labels=...).",
        )


def fingerprint(config: Config, model: FlatModel, facts: Facts) -> str:
    """Return what must be the same at all nodes that hold a model.

    Where each device has data of its own, the facts about all of it are part of it: they say how
    inputs are standardised.
    """
    return model.fingerprint(facts.to_bytes() if config.data.is_own else b"")


def first_model(config: Config, data: Loaded, facts: Facts | None = None) -> FlatModel:
    """Return the model that holds the first base: that of `start_from`, or of the seed.

    Raises:
        ConfigError: as `make_model`, or the file cannot be read or is of another model.
    """
    model = make_model(config, data, facts)
    if config.start_from is not None:
        start_from(model, config.start_from)
    if (device := processor(config, CLOUD)).type != "cpu":
        model.to(device)
    return model


def judging(config: Config, data: Loaded, facts: Facts | None = None) -> Samples | None:
    """Return what a node judges models by, as the model gets it; None: it has nothing."""
    if data.test is None:
        return None
    return prepared(config, data, data.test, facts or of_all(config, data))


def make_trainer(config: Config, name: str, data: Loaded, facts: Facts | None = None) -> Trainer:
    """Return the trainer of the device called `name`, with its samples or its share of them.

    One that `faults` names gets a trainer that lies.

    Args:
        config: the configuration.
        name: the device's.
        data: what it holds.
        facts: of all nodes' data together; None: this node holds all there are.

    Raises:
        ConfigError: if the partition leaves a device without samples, or the model cannot learn
            from them.
        UserCodeError: if the user's own code fails.
    """
    facts = facts or of_all(config, data)
    samples = data.held()
    if not config.data.is_own:
        samples = samples.take(torch.from_numpy(share_out(config, data)[name]))
    if config.data.augment:
        key = "data.augment"
        samples = transformed(samples, make_transform(config.data.augment, key), key)
    kinds = {"sign_flip": SignFlip, "random_vote": RandomVote, "shout": Shout}
    lie = next((kind for kind, names in config.faults if name in names), None)
    kind = kinds[lie] if lie else Trainer
    trainer = kind(
        data.task,
        make_model(config, data, facts),
        prepared(config, data, samples, facts),
        config.algorithm.batch_size,
        judging(config, data, facts) if config.data.is_own else None,
    )
    if (device := processor(config, name)).type != "cpu":
        trainer.model.to(device)
    trainer.try_once(name)
    trainer.try_judging(config.evaluate.metric if config.evaluate.compares else "")
    return trainer
