"""From a configuration and what a node holds to a model, and to a device's trainer."""

from __future__ import annotations

import torch
from torch import nn

from hierfl.config import CLOUD, Config
from hierfl.errors import ConfigError, DataError
from hierfl.learning.adversaries import RandomVote, Shout, SignFlip
from hierfl.learning.flat_model import FlatModel
from hierfl.learning.loaded import Loaded, known, load_data, node_of, of_all, prepared, share_out
from hierfl.learning.model_file import start_from
from hierfl.learning.private import Mechanism, PrivateTrainer
from hierfl.learning.processor import processor
from hierfl.learning.samples import Samples
from hierfl.learning.sources import FORMS
from hierfl.learning.task import Task
from hierfl.learning.tasks import Classification, Segmentation, make_task
from hierfl.learning.trainer import Trainer
from hierfl.learning.transforms import make_transform, transformed
from hierfl.learning.user_code import guard, is_own
from hierfl.protocol.facts import Facts


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
        raise ConfigError(
            "task",
            f"segmentation learns the class of each pixel; targets have the shape {shape}",
            "For one class for each sample there is task: classification.",
        )
    if isinstance(task, Classification) and shape not in (None, ()):
        hint = "For a class for each pixel there is task: segmentation."
        if len(shape or ()) == 1:
            hint = "A target is one whole number: int64 [n] for n samples, not [n, 1] or one-hot."
        raise ConfigError(
            "task",
            f"classification learns one class for each sample; targets have the shape {shape}",
            hint,
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


def nobody_judges() -> ConfigError:
    """Return the error for models that are to be compared where nobody can judge them."""
    return ConfigError(
        "evaluate",
        "models are to be compared, and no device holds out data to judge them by",
        "Set data.validation: 0.1, name files by `test`, or give the cloud data in its data.root.",
    )


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
    model, samples = make_model(config, data, facts), prepared(config, data, samples, facts)
    if config.privacy is not None and lie is None:
        trainer: Trainer = PrivateTrainer(data.task, model, samples, _mechanism(config))
    else:
        kind = kinds[lie] if lie else Trainer
        test = judging(config, data, facts) if config.data.is_own else None
        trainer = kind(data.task, model, samples, config.algorithm.batch_size, test)
    if (device := processor(config, name)).type != "cpu":
        trainer.model.to(device)
    trainer.try_once(name)
    trainer.try_judging(config.evaluate.metric if config.evaluate.compares else "")
    return trainer


def _mechanism(config: Config) -> Mechanism:
    """Return how devices of a resolved configuration take noised gradients."""
    privacy = config.privacy
    assert privacy is not None and privacy.noise_multiplier is not None
    budget = config.algorithm.total_steps
    return Mechanism(privacy.rate, privacy.clip, privacy.noise_multiplier, budget)
