"""Gradients of minibatches, and how good a model is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from hierfl.learning.dataset import Split
from hierfl.learning.flat_model import FlatModel


class Trainer:
    """Takes gradients of the mean cross-entropy over minibatches of one device's samples.

    Attributes:
        model: where gradients are left; its weights are never changed here.
        split: the device's samples.
        batch_size: of a minibatch, at most the number of samples.
    """

    def __init__(self, model: FlatModel, split: Split, batch_size: int) -> None:
        self.model = model
        self.split = split
        self.batch_size = min(batch_size, len(split))

    @property
    def examples(self) -> int:
        """How many samples the device holds."""
        return len(self.split)

    def gradient(self, generator: np.random.Generator) -> float:
        """Leave the gradient of one minibatch in `model.gradient`.

        Args:
            generator: names the minibatch (drawn without replacement) and whatever is random in
                the model, dropout for one.

        Returns:
            The minibatch's mean loss, at the weights as they are.
        """
        chosen = generator.choice(len(self.split), self.batch_size, replace=False)
        inputs, labels = self.split.batch(torch.from_numpy(chosen))
        self.model.zero_gradient()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(generator.integers(2**63)))
            loss = functional.cross_entropy(self.model.module(inputs), labels)
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy, and the share (0 to 1) of samples whose likeliest class is right."""

    loss: float
    accuracy: float


def evaluate(model: FlatModel, split: Split, batch_size: int = 64) -> Evaluation:
    """Try a model on every sample of a split, in evaluation mode; then back to training mode."""
    loss, correct = 0.0, 0
    model.module.eval()
    with torch.inference_mode():
        for start in range(0, len(split), batch_size):
            inputs, labels = split.batch(slice(start, start + batch_size))
            outputs = model.module(inputs)
            loss += functional.cross_entropy(outputs, labels, reduction="sum").item()
            correct += int((outputs.argmax(1) == labels).sum())
    model.module.train()
    return Evaluation(loss / len(split), correct / len(split))
