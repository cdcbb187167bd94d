"""HierSignSGD and hierarchical SGD written down densely: no packing, no messages, no classes."""

from __future__ import annotations

import numpy as np

from hierfl.config import Config
from hierfl.numerics.layout import Layout
from hierfl.numerics.rng import generator


def signs(x: np.ndarray) -> np.ndarray:
    """The sign with sign(0) = +1."""
    return np.where(x < 0, np.float32(-1), np.float32(1))


def hier_signsgd(
    config: Config,
    layout: Layout,
    base: np.ndarray,
    targets: dict[str, float],
    examples: dict[str, int],
) -> np.ndarray:
    """Return the last base; for odd clusters, where no step ties."""
    settings = config.algorithm
    beta, base = np.float32(settings.momentum), base.copy()
    momentum = {name: np.zeros(layout.d, np.float32) for name in targets}
    residual = np.zeros(layout.d, np.float32)
    everyone = sum(examples.values())
    for t in range(1, settings.rounds + 1):
        cosine = (1 + np.cos(np.pi * (t - 1) / settings.rounds)) / 2
        lr = np.float32(settings.lr * cosine)
        change = np.zeros(layout.d)
        for members in config.tree().values():
            w, tally = base.copy(), np.zeros(layout.d, int)
            for s in range(1, settings.edge_steps + 1):
                total = np.zeros(layout.d)
                for name in members:
                    noise = generator(config.seed, name, t, s, "minibatch").standard_normal(
                        layout.d, np.float32
                    )
                    gradient = w - np.float32(targets[name]) + noise
                    momentum[name] = momentum[name] * beta + (1 - beta) * gradient
                    total += signs(momentum[name])
                majority = np.sign(total).astype(np.float32)
                w = np.where(majority < 0, w + lr, w - lr)
                tally += majority.astype(int)
            share = sum(examples[name] for name in members) / everyone
            change += share * tally
        meant = (-float(lr) * change).astype(np.float32) + residual
        decoded = scaled_sign(meant, layout)
        residual = meant - decoded
        base += decoded
    return base


def scaled_sign(x: np.ndarray, layout: Layout) -> np.ndarray:
    """The downlink's default codec: per tensor the mean magnitude times the sign."""
    parts = []
    for offset, size in zip(layout.offsets, layout.sizes, strict=True):
        part = x[offset : offset + size]
        parts.append(np.float32(np.mean(np.abs(part), dtype=np.float64)) * signs(part))
    return np.concatenate(parts)
