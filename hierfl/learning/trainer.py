"""Gradients of minibatches, and how good a model is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from hierfl.errors import CheckpointError, ConfigError, HierflError
from hierfl.learning.flat_model import FlatModel
from hierfl.learning.models import INTEGERS
from hierfl.learning.processor import keyed, moved
from hierfl.learning.samples import Samples, drawing
from hierfl.learning.task import Task
from hierfl.learning.user_code import guard, place_of
from hierfl.protocol.evaluated import Evaluated

TRIED = 8
"""With how many samples the metrics are tried before a run."""

Figures = Mapping[str, float]
"""How good a model is: the loss and the task's metrics, by name; empty where nobody has looked."""


class Trainer:
    """Takes gradients of a task's loss over minibatches of one device's samples.

    Attributes:
        task: says what the loss is.
        model: where gradients are left; its weights are never changed here.
        samples: the device's, as the model gets them.
        test: samples to be judged by, held out from the device's; None: there are none.
        batch_size: of a minibatch, at most the number of samples.
        metrics_bytes: in which it says how good a model is, once `try_judging` has found out.
    """

    def __init__(
        self,
        task: Task,
        model: FlatModel,
        samples: Samples,
        batch_size: int,
        test: Samples | None = None,
    ) -> None:
        self.task = task
        self.model = model
        self.samples = samples
        self.test = test
        self.batch_size = min(batch_size, len(samples))
        self.metrics_bytes = 0

    @property
    def examples(self) -> int:
        """How many samples the device holds."""
        return len(self.samples)

    def gradient(self, generator: np.random.Generator) -> float:
        """Leave the gradient of one minibatch in `model.gradient`.

        Args:
            generator: names the minibatch (drawn without replacement) and whatever is random in
                reading it, in the model (dropout, for one) or in the loss.

        Returns:
            The minibatch's mean loss, at the weights as they are.

        Raises:
            UserCodeError: the user's own code fails.
        """
        chosen = torch.from_numpy(
            generator.choice(len(self.samples), self.batch_size, replace=False)
        )
        self.model.enter()
        self.model.zero_gradient()
        device = self.model.device
        seed = int(generator.integers(2**63))
        with (
            drawing(seed, user_code=self.samples.reads),
            keyed(seed, device),
            guard("the gradient"),
        ):
            batch = moved(self.samples.batch(chosen), device)
            loss = self.task.loss(self.model.module, batch)
            loss.backward()  # type: ignore[no-untyped-call]
        self.model.gather_gradient()
        return loss.item()

    def keep(self) -> bytes:
        """Return what must stay with the device's state, for its gradients to come out alike."""
        return b""

    def restore(self, kept: bytes) -> None:
        """Take what `keep` has returned.

        Raises:
            CheckpointError: it has not.
        """
        if kept:
            raise CheckpointError("it is of a device whose gradients are noised")

    def judge(self, metric: str) -> Evaluated | None:
        """Return how good the model is on what the device holds out; None: it holds out nothing.

        Args:
            metric: the one of the task's figures by which devices are compared, if it has that.

        Raises:
            UserCodeError: the user's own code fails.
        """
        if self.test is None:
            return None
        found = sums(self.task, self.model, self.test)
        value = figures_of(self.task, found).get(metric, math.nan)
        return Evaluated({name: total.numpy() for name, total in found.items()}, value)

    def try_judging(self, metric: str = "") -> None:
        """See that models can be judged by what the device holds out, on the first few of it.

        Args:
            metric: a figure that the task must have; "": none.

        Raises:
            ConfigError: it has not.
            UserCodeError: the user's own code fails.
        """
        if self.test is None:
            return
        few = self.test.take(torch.arange(min(TRIED, len(self.test))))
        found = sums(self.task, self.model, few)
        figures = figures_of(self.task, found)
        arrays = {name: total.numpy() for name, total in found.items()}
        self.metrics_bytes = len(Evaluated(arrays, 0.0).to_bytes())
        if metric and metric not in figures:
            known = ", ".join(figures)
            raise ConfigError(
                "evaluate.metric", f"the task has no figure {metric!r}; it has {known}"
            )

    def try_once(self, name: str) -> None:
        """See that the loss and its gradient can be had of a batch as large as all will be.

        The model's buffers stay as they are.

        Args:
            name: the device's.

        Raises:
            ConfigError: the model fails, or the loss is no mean.
            UserCodeError: the user's own code fails.
        """
        what = f"{name}: a batch of {self.batch_size} sample{'s' * (self.batch_size > 1)}"
        self.model.enter()
        kept = [buffer.clone() for buffer in self.model.module.buffers()]
        try:
            with drawing(0, user_code=self.samples.reads):
                batch = moved(self.samples.batch(torch.arange(self.batch_size)), self.model.device)
                loss = self.task.loss(self.model.module, batch)
                if isinstance(loss, torch.Tensor) and loss.shape == () and loss.requires_grad:
                    loss.backward()  # type: ignore[no-untyped-call]
        except (HierflError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise _explained(error, what) from error
        finally:
            for buffer, value in zip(self.model.module.buffers(), kept, strict=True):
                buffer.data.copy_(value)
            self.model.zero_gradient()
        if not isinstance(loss, torch.Tensor) or loss.shape != () or not loss.requires_grad:
            said = (
                f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor)
                else f"a {type(loss).__name__}"
            )  # fmt: skip
            if isinstance(loss, torch.Tensor) and loss.shape == ():
                said = "a number that does not depend on the model's parameters"
            raise ConfigError("task", f"the loss should be one number for the batch, not {said}")


def _explained(error: BaseException, what: str) -> HierflError:
    """Return what a person can do about a model or a loss that fails on a batch."""
    said = str(error).partition("\n")[0]
    if "more than 1 value per channel" in said:
        return ConfigError(
            "model", f"{what} is too small for this model's BatchNorm in training",
            "Give the device two samples at least, and algorithm.batch_size 2, or take a model\n"
            "without BatchNorm: GroupNorm and LayerNorm look at one sample at a time.",
        )  # fmt: skip
    if not isinstance(error, RuntimeError | ValueError):
        said = f"{type(error).__name__}: {said}"
    place = place_of(error)
    hint = None
    if "dtype" in said or "scalar type" in said:
        hint = INTEGERS
    if isinstance(error, IndexError):
        hint = "Is there a token or a class below zero, or beyond what the model has a place for?"
    return ConfigError("model", f"{what} fails: {said}" + (f"\n{place}" if place else ""), hint)


def sums(task: Task, model: FlatModel, samples: Samples, size: int = 64) -> dict[str, torch.Tensor]:
    """Return a task's metrics summed over all samples, float64 tensors; "loss" among them.

    The model is tried in evaluation mode, and goes back to training mode.

    Args:
        task: whose metrics.
        model: to be tried.
        samples: to try it on.
        size: of a batch.

    Raises:
        UserCodeError: the user's own code fails.
        ConfigError: the metrics do not say of how many examples they are.
    """
    total: dict[str, torch.Tensor] = {}
    model.enter()
    model.module.eval()
    try:
        with (
            torch.inference_mode(),
            drawing(0, user_code=samples.reads),
            keyed(0, model.device),
            guard("the metrics"),
        ):
            for start in range(0, len(samples), size):
                batch = samples.batch(slice(start, min(start + size, len(samples))))
                batch = moved(batch, model.device)
                found = _metrics(task, model, batch)
                if "loss" not in found:
                    loss = task.loss(model.module, batch)
                    found["loss"] = loss.cpu().double() * float(found["examples"])
                for name, value in found.items():
                    part = _summand(name, value)
                    if name in total and total[name].shape != part.shape:
                        raise ConfigError("task", f"the sum {name!r} is of another shape each time")
                    total[name] = total[name] + part if name in total else part
    finally:
        model.module.train()
    return total


def _metrics(task: Task, model: FlatModel, batch: Any) -> dict[str, Any]:
    """Return the metrics of a batch.

    Raises:
        ConfigError: they are none.
    """
    try:
        found = task.metrics(model.module, batch)
    except NotImplementedError:
        if type(task).metrics is not Task.metrics:
            raise
        name = type(task).__name__
        raise ConfigError(
            "task", f"{name} does not say how good a model is",
            'Give it a method metrics(model, batch) that returns sums and "examples".',
        ) from None  # fmt: skip
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise ConfigError("task", f"metrics must return {{name: sum}}, not {found!r:.200}")
    if "examples" not in found:
        raise ConfigError("task", "metrics must say of how many 'examples' they are")
    if not float(_summand("examples", found["examples"])) > 0:
        raise ConfigError("task", f"metrics are of {found['examples']} examples")
    return dict(found)


def _summand(name: str, value: Any) -> torch.Tensor:
    """Return a metric's sum over a batch, float64."""
    try:
        return torch.as_tensor(value).detach().cpu().double()
    except (TypeError, ValueError, RuntimeError):
        raise ConfigError("task", f"the metric {name!r} is no number: {value!r:.200}") from None


def evaluate(task: Task, model: FlatModel, samples: Samples, size: int = 64) -> dict[str, float]:
    """Return the figures of a model on all samples; see `sums`."""
    return figures_of(task, sums(task, model, samples, size))


def figures_of(task: Task, found: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Return the figures that a task's sums come to.

    Raises:
        UserCodeError: the user's own code fails.
    """
    with guard("compute"):
        figures = task.compute(found)
        try:
            return {str(name): float(value) for name, value in figures.items()}
        except (AttributeError, TypeError, ValueError, RuntimeError):
            raise ConfigError(
                "task", f"compute must return {{name: number}}, not {figures!r:.200}"
            ) from None


def figures_at_devices(task: Task, found: Evaluated) -> dict[str, float]:
    """Return the figures that devices' sums come to; see `figures_of`."""
    return figures_of(task, {name: torch.from_numpy(v) for name, v in found.sums.items()})
