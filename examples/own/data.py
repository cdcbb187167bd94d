"""A data set of one's own: noisy stripes in four directions, made on the spot."""

from __future__ import annotations

import numpy as np
import torch

DIRECTIONS = np.array([(1, 0), (0, 1), (1, 1), (1, -1)])  # one class each
SIDE = 12


def load() -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Training and test data, each as (inputs, labels); the same on every node.

    May take `root`, the folder that the topology file names under `data.root`, and may return
    torch Datasets instead.
    """
    generator = np.random.default_rng(0)
    return stripes(6000, generator), stripes(1000, generator)


def stripes(n: int, generator: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs, float32 [n, 1, SIDE, SIDE] with mean 0 and deviation 1, and labels, int64 [n]."""
    labels = generator.integers(0, len(DIRECTIONS), n)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    across = np.einsum("nd,dij->nij", DIRECTIONS[labels], np.stack([rows, columns]))
    phases = generator.uniform(0, 2 * np.pi, (n, 1, 1))
    images = np.sin(1.3 * across + phases) + generator.normal(0, 2.0, across.shape)
    images = ((images - images.mean()) / images.std()).astype(np.float32)
    return torch.from_numpy(images[:, None]), torch.from_numpy(labels)
