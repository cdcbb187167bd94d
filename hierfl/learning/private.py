"""Gradients that are clipped and noised: what is made of them says little of any one sample."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np
import torch

from hierfl.errors import CheckpointError, ConfigError
from hierfl.learning.flat_model import FlatModel
from hierfl.learning.processor import keyed, moved
from hierfl.learning.samples import Samples, drawing
from hierfl.learning.task import Task
from hierfl.learning.trainer import Trainer
from hierfl.learning.user_code import guard
from hierfl.numerics.secret_noise import SECRET, SecretNoise

_COUNT = 8


@dataclass(frozen=True)
class Mechanism:
    """The subsampled Gaussian mechanism of DP-SGD.

    Abadi et al. 2016 (arXiv 1607.00133), Algorithm 1, with n samples at the device:

        B: each sample by itself, with probability rate;   z ~ N(0, I_d)
        g = (sum_{i in B} g_i min(1, clip / |g_i|) + noise_multiplier clip z) / (rate n)

    Attributes:
        rate: the probability with which a sample is in a minibatch.
        clip: the largest Euclidean norm of a sample's gradient: the sum's sensitivity.
        noise_multiplier: the noise's standard deviation, in units of `clip`.
        budget: how many such gradients may be had; what is asked for beyond them is not finite.
    """

    rate: float
    clip: float
    noise_multiplier: float
    budget: int


class PrivateTrainer(Trainer):
    """Takes gradients by a `Mechanism`. The sign of one is dp-sign of arXiv 2002.10940.

    Minibatch and noise come from a secret of the device (see `SecretNoise`) and, besides the step,
    from the weights. A step that is repeated at the same weights gives the same gradient, and tells
    nothing new; one that is asked for at others gets noise of its own, and counts against the
    budget: the difference of two answers does not cancel the noise.

    Each sample goes through the model alone: no layer can mix samples, and any model will do that
    keeps no statistics of data in its buffers. No loss is returned, and nothing is evaluated.
    """

    def __init__(
        self, task: Task, model: FlatModel, samples: Samples, mechanism: Mechanism
    ) -> None:
        super().__init__(task, model, samples, batch_size=1)
        self.mechanism = mechanism
        self._secret = os.urandom(SECRET)
        self._asked: set[bytes] = set()
        self._spent = 0

    def keep(self) -> bytes:
        """Return the secret, and how many gradients were asked for."""
        return self._secret + self._spent.to_bytes(_COUNT, "little")

    def restore(self, kept: bytes) -> None:
        """Go on with a secret that was kept; this process's own count stays.

        Raises:
            CheckpointError: `keep` has not returned that.
        """
        if len(kept) != SECRET + _COUNT:
            raise CheckpointError("it has no secret of the device's noise")
        secret, spent = kept[:SECRET], int.from_bytes(kept[SECRET:], "little")
        if secret != self._secret:
            self._secret, self._spent = secret, spent
            self._asked.clear()

    def gradient(self, generator: np.random.Generator) -> float:
        """Leave a clipped and noised gradient in `model.gradient`; return 0.

        Args:
            generator: names the step.
        """
        step = generator.bytes(16)
        noise = SecretNoise(self._secret, (step, self.model.weights.data.cast("B")))
        if not self._may(noise.key):
            self.model.gradient.fill(np.nan)
            return 0.0
        mechanism, count = self.mechanism, len(self.samples)
        chosen = np.flatnonzero(noise.uniform(count) < mechanism.rate)
        total = self._clipped_sum(chosen, noise.integer())
        deviation = mechanism.noise_multiplier * mechanism.clip
        total += deviation * noise.normal(total.size)
        self.model.gradient[:] = total / (mechanism.rate * count)
        return 0.0

    def _may(self, key: bytes) -> bool:
        if key not in self._asked:
            if self._spent >= self.mechanism.budget:
                return False
            self._asked.add(key)
            self._spent += 1
        return True

    def _clipped_sum(self, chosen: np.ndarray, seed: int) -> np.ndarray:
        """Return the sum of some samples' clipped gradients, float64[d].

        A gradient that is not finite counts as none.
        """
        total, device = np.zeros(self.model.layout.d), self.model.device
        self.model.enter()
        with (
            drawing(seed, user_code=self.samples.reads),
            keyed(seed, device),
            guard("the gradient"),
        ):
            for index in chosen:
                self.model.zero_gradient()
                sample = moved(self.samples.batch(torch.tensor([index])), device)
                self.task.loss(self.model.module, sample).backward()  # type: ignore[no-untyped-call]
                self.model.gather_gradient()
                norm = math.sqrt(np.square(self.model.gradient, dtype=np.float64).sum())
                if math.isfinite(norm):
                    total += self.model.gradient * min(1.0, self.mechanism.clip / max(norm, 1e-30))
        return total

    def try_once(self, name: str) -> None:
        """See `Trainer.try_once`; the model may keep nothing of the data besides.

        Raises:
            ConfigError: likewise, or the model has buffers that a sample changes.
        """
        super().try_once(name)
        buffers = dict(self.model.module.named_buffers())
        before = {key: buffer.clone() for key, buffer in buffers.items()}
        with drawing(0, user_code=self.samples.reads), torch.no_grad():
            self.task.loss(
                self.model.module, moved(self.samples.batch(torch.arange(1)), self.model.device)
            )
        for key, buffer in buffers.items():
            if not torch.equal(buffer, before[key]):
                buffer.data.copy_(before[key])
                raise ConfigError(
                    "privacy", f"the model keeps statistics of the data in {key}, without noise",
                    "GroupNorm and LayerNorm keep none; BatchNorm does.",
                )  # fmt: skip
