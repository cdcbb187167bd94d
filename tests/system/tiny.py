"""A data set that is made in a moment: two noisy directions in 16 dimensions."""

from __future__ import annotations

import torch


def load() -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Training and test data, each as (inputs float32 [n, 1, 4, 4], labels int64 [n])."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (600,), generator=generator)
    direction = torch.linspace(-1, 1, 16)
    noise = torch.randn(600, 16, generator=generator)
    inputs = (noise + direction * (2.0 * labels[:, None] - 1)).view(600, 1, 4, 4)
    return (inputs[:500], labels[:500]), (inputs[500:], labels[500:])
