"""The built-in models."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn

from hierfl.learning.data import Form
from hierfl.learning.torch_compat import import_torchvision


def _linear(form: Form) -> nn.Module:
    """One layer: linear or logistic regression."""
    return nn.Sequential(nn.Flatten(), nn.Linear(_size(form), form.classes))


def _mlp(form: Form, hidden: Sequence[int] = (128,)) -> nn.Module:
    """Linear layers of the sizes `hidden`, with ReLU between them."""
    layers: list[nn.Module] = [nn.Flatten()]
    sizes = (_size(form), *_sizes(hidden))
    for narrow, wide in pairwise(sizes):
        layers += [nn.Linear(narrow, wide), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], form.classes))


def _autoencoder(form: Form, hidden: Sequence[int] = (32, 8)) -> nn.Module:
    """Layers down to the last of `hidden`, and the same way up again."""
    sizes = (_size(form), *_sizes(hidden))
    layers: list[nn.Module] = [nn.Flatten()]
    for narrow, wide in pairwise(sizes + sizes[-2::-1]):
        layers += [nn.Linear(narrow, wide), nn.ReLU()]
    shape = form.outputs or form.shape or ()
    return nn.Sequential(*layers[:-1], nn.Unflatten(1, shape))


def _sizes(hidden: Sequence[int]) -> Sequence[int]:
    fits = isinstance(hidden, list | tuple) and all(type(n) is int and n > 0 for n in hidden)
    if not fits:
        raise ValueError(f"hidden should be a list of sizes from 1 up, not {hidden!r}")
    return hidden


def _convolutional(first: int, second: int, hidden: int) -> Callable[..., nn.Module]:
    """Two strided convolutions, which need no pooling, and two linear layers."""

    def build(form: Form) -> nn.Module:
        """Two strided convolutions and two linear layers, for images."""
        channels, height, width = _image(form)
        area = -(-height // 6) * -(-width // 6)
        return nn.Sequential(
            nn.Conv2d(channels, first, kernel_size=5, stride=3, padding=2),
            nn.ReLU(),
            nn.Conv2d(first, second, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(second * area, hidden),
            nn.ReLU(),
            nn.Linear(hidden, form.classes),
        )

    return build


def _resnet18(form: Form) -> nn.Module:
    """ResNet-18 for small images (He et al. 2016), with GroupNorm (Wu and He 2018).

    GroupNorm has no running statistics, which would differ between devices. The first convolution
    keeps the resolution, and there is no max-pooling, as usual for images of 32 x 32.
    """
    channels, _, _ = _image(form)
    models = import_torchvision().models
    module: nn.Module = models.resnet18(
        num_classes=form.classes, norm_layer=lambda channels: nn.GroupNorm(32, channels)
    )
    stem = nn.Conv2d(channels, 64, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    module.conv1, module.maxpool = stem, nn.Identity()
    return module


class Transformer(nn.Module):
    """A decoder-only transformer (Vaswani et al. 2017) with layers as in GPT-2: norm first, GELU.

    Args:
        tokens: how many different ones there are.
        length: of the longest sequence.
        width: of the embedding.
        heads: of attention; they divide the width.
        layers: how many.
        dropout: in all of them.
    """

    def __init__(
        self, tokens: int, length: int, width: int, heads: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.token = nn.Embedding(tokens, width)
        self.place = nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, tokens)
        for embedding in (self.token, self.place):
            nn.init.normal_(embedding.weight, std=0.02)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return float32 [k, n, tokens] for int64 [k, n]: what comes next at each place."""
        steps = inputs.shape[1]
        mask = torch.ones(steps, steps, dtype=torch.bool, device=inputs.device).triu(1)
        there = self.token(inputs) + self.place.weight[:steps]
        outputs: torch.Tensor = self.head(self.norm(self.layers(there, mask, is_causal=True)))
        return outputs


def _transformer(
    form: Form, width: int = 64, heads: int = 4, layers: int = 2, dropout: float = 0.0
) -> nn.Module:
    """A decoder-only transformer (Vaswani et al. 2017) for sequences of tokens."""
    if form.shape is None or len(form.shape) != 1:
        raise ValueError(f"it reads sequences of tokens, not inputs of shape {form.shape}")
    return Transformer(form.classes, form.shape[0], width, heads, layers, dropout)


def _size(form: Form) -> int:
    if form.shape is None:
        raise ValueError("a sample's input is not one tensor")
    return math.prod(form.shape)


def _image(form: Form) -> tuple[int, int, int]:
    if form.shape is None or len(form.shape) != 3:
        raise ValueError(
            f"it reads images [channels, height, width], not inputs of shape {form.shape}; mlp "
            "reads any"
        )
    channels, height, width = form.shape
    return channels, height, width


ZOO: dict[str, Callable[..., nn.Module]] = {
    "linear": _linear,
    "mlp": _mlp,
    "cnn": _convolutional(16, 32, 96),
    "cnn-large": _convolutional(32, 64, 600),
    "resnet18": _resnet18,
    "autoencoder": _autoencoder,
    "transformer": _transformer,
}
