"""The built-in tasks.

Losses are torch's. The metrics are sums of a line each: torchmetrics has them too, but importing it
takes 177 MB and brings torchvision, more than a device's model and data together.
"""

from __future__ import annotations

import difflib
import math
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional

from hierfl.config import Config
from hierfl.errors import ConfigError
from hierfl.learning.data import Form, Targets
from hierfl.learning.samples import Batch
from hierfl.learning.task import Sums, Task
from hierfl.learning.user_code import guard, is_own
from hierfl.loader import load
from hierfl.protocol.facts import Facts

KEY = "task"

MOST_TOKENS = 1 << 24
"""The highest token: a model has an output for each."""


class Classification(Task):
    """One class for each sample: cross-entropy, and the share of samples whose class is right."""

    targets: ClassVar[Targets] = "classes"

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Return the mean cross-entropy."""
        inputs, labels = batch
        return functional.cross_entropy(model(inputs), labels)

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Any]:
        """Return the summed cross-entropy, and how many of the likeliest classes are right."""
        inputs, labels = batch
        outputs = model(inputs)
        return {
            "examples": len(labels),
            "loss": functional.cross_entropy(outputs, labels, reduction="sum").item(),
            "accuracy": int((outputs.argmax(1) == labels).sum()),
        }

    def scores(self, model: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the likeliest class of each sample, and its probability."""
        probability, label = model(_inputs(batch)).softmax(1).max(1)
        return {"class": label, "probability": probability}

    def form(self, facts: Facts) -> Form:
        """One value for each class."""
        return Form(facts.shape, facts.classes, (facts.classes,))


class Regression(Task):
    """Real values, one or several for each sample: the mean squared error.

    A model learns values that are standardised as the inputs are; figures are in their own unit.
    """

    targets: ClassVar[Targets] = "values"

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Return the mean squared error of standardised values."""
        inputs, values = batch
        mean, deviation = self._unit(values.device)
        return functional.mse_loss(_like(model(inputs), values), (values - mean) / deviation)

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Any]:
        """Return what `mse`, `mae` and `r2` are made of, and the summed loss."""
        inputs, values = batch
        mean, deviation = self._unit(values.device)
        outputs = _like(model(inputs), values)
        wanted = values.double().reshape(len(values), -1)
        error = (outputs * deviation + mean).double().reshape(len(values), -1) - wanted
        scaled = functional.mse_loss(outputs, (values - mean) / deviation)
        return {
            "examples": len(values),
            "loss": scaled.double() * len(values),
            "mse": error.square().mean(1).sum(),
            "mae": error.abs().mean(1).sum(),
            "errors": error.square().sum(0),
            "values": wanted.sum(0),
            "squares": wanted.square().sum(0),
        }

    def compute(self, sums: Sums) -> dict[str, float]:
        """Return loss, mse, mae, and r2: 1 - errors / variation, the mean over several values."""
        figures = super().compute(sums)
        variation = sums["squares"] - sums["values"].square() / sums["examples"]
        return {**figures, "r2": float((1 - sums["errors"] / variation).mean())}

    def scores(self, model: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """Return what the model says of each sample, in the values' own unit."""
        outputs = model(_inputs(batch))
        mean, deviation = self._unit(outputs.device)
        size = math.prod(self.facts.target_shape or ())
        columns = (outputs.reshape(len(outputs), size) * deviation + mean).unbind(1)
        names = ["prediction"] if size == 1 else [f"prediction_{i}" for i in range(size)]
        return dict(zip(names, columns, strict=True))

    def form(self, facts: Facts) -> Form:
        """One output for each value."""
        size = math.prod(facts.target_shape or ())
        return Form(facts.shape, size, (size,))

    def _unit(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        moments = self.facts.targets
        if moments is None or self.config.data.standardize == "none":
            return torch.tensor(0.0, device=device), torch.tensor(1.0, device=device)
        deviation = torch.from_numpy(moments.deviation())
        return (
            torch.tensor(moments.mean).float().to(device),
            torch.where(deviation > 0, deviation, 1.0).float().to(device),
        )


class Reconstruction(Task):
    """The inputs themselves, through a narrow place: what a model cannot reproduce is unusual."""

    targets: ClassVar[Targets] = "none"

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Return the mean squared error of standardised inputs."""
        inputs = _inputs(batch)
        return functional.mse_loss(_like(model(inputs), inputs), inputs)

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Any]:
        """Return the summed squared errors, which are the loss, and absolute errors."""
        inputs = _inputs(batch)
        error = (_like(model(inputs), inputs) - inputs).double().flatten(1)
        squared = error.square().mean(1).sum()
        return {
            "examples": len(inputs),
            "loss": squared,
            "mse": squared,
            "mae": error.abs().mean(1).sum(),
        }

    def scores(self, model: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the mean squared error of each sample: the larger, the more unusual it is."""
        inputs = _inputs(batch)
        return {"mse": (_like(model(inputs), inputs) - inputs).square().flatten(1).mean(1)}

    def form(self, facts: Facts) -> Form:
        """As many as there are inputs."""
        return Form(facts.shape, math.prod(facts.shape or ()), facts.shape)


class Segmentation(Task):
    """A class for each place of an image: cross-entropy, accuracy, and mean IoU.

    Targets are int64 [height, width]; the model gives [classes, height, width].
    """

    targets: ClassVar[Targets] = "classes"

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Return the mean cross-entropy over all places."""
        inputs, labels = batch
        return functional.cross_entropy(model(inputs), labels)

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Any]:
        """Return the sums, among them how often each class is there, said, and said rightly."""
        inputs, labels = batch
        outputs = model(inputs)
        classes = outputs.shape[1]
        said, wanted = outputs.argmax(1).flatten(), labels.flatten()
        right = said == wanted
        count = {"wanted": wanted, "said": said, "right": wanted[right]}
        loss = functional.cross_entropy(outputs, labels).double()
        return {
            "examples": len(labels),
            "loss": loss * len(labels),
            "accuracy": right.double().mean() * len(labels),
            **{name: torch.bincount(of, minlength=classes) for name, of in count.items()},
        }

    def compute(self, sums: Sums) -> dict[str, float]:
        """Return loss, accuracy, and the mean IoU of the classes that are there or were said."""
        union = sums["wanted"] + sums["said"] - sums["right"]
        iou = (sums["right"] / union)[union > 0]
        return {**super().compute(sums), "mean_iou": float(iou.mean())}

    def scores(self, model: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """Return what share of each sample's places is said to be of each class."""
        outputs = model(_inputs(batch))
        classes = outputs.shape[1]
        said = functional.one_hot(outputs.argmax(1).flatten(1), classes)
        names = self.facts.labels or range(classes)
        return {
            f"share_{name}": of for name, of in zip(names, said.double().mean(1).T, strict=True)
        }

    def form(self, facts: Facts) -> Form:
        """One value for each class at each place."""
        return Form(facts.shape, facts.classes, (facts.classes, *(facts.target_shape or ())))


class NextToken(Task):
    """The next of a sequence of tokens, at each of its places: cross-entropy and perplexity.

    A sample is int64 or bytes [n + 1]: the model sees the first n tokens and gives [n, tokens].
    """

    targets: ClassVar[Targets] = "none"

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Return the mean cross-entropy over all places."""
        outputs, wanted = self._said(model, batch)
        return functional.cross_entropy(outputs, wanted)

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Any]:
        """Return the summed cross-entropy, and how many of the likeliest tokens are right."""
        outputs, wanted = self._said(model, batch)
        samples = len(_inputs(batch))
        return {
            "examples": samples,
            "loss": functional.cross_entropy(outputs, wanted).double() * samples,
            "accuracy": (outputs.argmax(1) == wanted).double().mean() * samples,
        }

    def compute(self, sums: Sums) -> dict[str, float]:
        """Return loss, accuracy, and the perplexity exp(loss)."""
        figures = super().compute(sums)
        return {**figures, "perplexity": float(torch.tensor(figures["loss"]).double().exp())}

    def scores(self, model: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the perplexity of each sample."""
        outputs, wanted = self._said(model, batch)
        losses = functional.cross_entropy(outputs, wanted, reduction="none")
        return {"perplexity": losses.reshape(len(_inputs(batch)), -1).mean(1).exp()}

    def form(self, facts: Facts) -> Form:
        """One value for each token, at each place of the input."""
        if facts.highest is None or facts.shape is None or len(facts.shape) != 1:
            what = facts.dtype or "no tensors"
            raise ConfigError(
                "task",
                f"next-token learns from sequences of integers; inputs are {what} {facts.shape}",
                "A sample is int64 or bytes [n + 1]; the text reader gives bytes.",
            )
        if facts.highest > MOST_TOKENS:
            raise ConfigError("task", f"next-token learns tokens; there is one {facts.highest:,}")
        tokens = 256 if facts.dtype == "uint8" else facts.highest + 1
        seen = facts.shape[0] - 1
        return Form((seen,), tokens, (seen, tokens))

    def _said(self, model: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return outputs [m, tokens] and what they should be, int64 [m]."""
        tokens = _inputs(batch).long()
        return model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()


BUILT_IN: dict[str, type[Task]] = {
    "classification": Classification,
    "regression": Regression,
    "reconstruction": Reconstruction,
    "segmentation": Segmentation,
    "next-token": NextToken,
}


def make_task(config: Config) -> Task:
    """Return the task of a configuration.

    Raises:
        ConfigError: there is no such task, or it is no Task.
    """
    name = config.task
    made: Any = BUILT_IN.get(name)
    if is_own(name):
        made = load(name, KEY)
    elif made is None:
        near = difflib.get_close_matches(name, BUILT_IN, n=1)
        hint = f"did you mean {near[0]}?" if near else "your own is named my_app.task:Sensors"
        raise ConfigError(KEY, f"no task {name!r}; built in are {', '.join(BUILT_IN)}", hint)
    if isinstance(made, type):
        with guard(name):
            made = made()
    if not isinstance(made, Task):
        raise ConfigError(KEY, f"{name} is a {type(made).__name__}, not a hierfl.Task")
    made.config = config
    return made


def _inputs(batch: Batch) -> torch.Tensor:
    """Return the inputs of a batch, whether or not it has targets."""
    inputs: torch.Tensor = batch[0] if isinstance(batch, tuple | list) else batch
    return inputs


def _like(outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return outputs in the shape of what is wanted: [k, 1] and [k] are the same to a person."""
    return outputs.reshape(wanted.shape)
