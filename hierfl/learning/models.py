"""The built-in models, and the way to the user's own."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable

import torch
from torch import nn

from hierfl.errors import ConfigError
from hierfl.learning.torch_compat import import_torchvision
from hierfl.learning.user_code import call_own, is_own

Shape = tuple[int, ...]


def build_model(name: str, *, shape: Shape, classes: int, seed: int) -> nn.Module:
    """Build a model whose first weights depend on the seed only.

    Args:
        name: a built-in (`mlp`, `cnn`, `cnn-large`, `resnet18`) or `module:function`, called with
            those of `shape`, `classes` and `seed` that it takes.
        shape: of one input, (channels, height, width) for the built-ins.
        classes: how many outputs.
        seed: of the initial weights; torch's own random state is left as it was.

    Returns:
        A module mapping float32 [n, *shape] to float32 [n, classes], in training mode.

    Raises:
        ConfigError: no such model, it has nothing to train, or it does not fit the data.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed % 2**63)
        if is_own(name):
            module = call_own(name, "model", shape=shape, classes=classes, seed=seed)
        else:
            module = _builder(name)(shape, classes)
        if not isinstance(module, nn.Module):
            kind = type(module).__name__
            raise ConfigError("model", f"{name} gave a {kind}, not a torch.nn.Module")
        _try_once(module, name, shape, classes)
    if not any(p.requires_grad for p in module.parameters()):
        raise ConfigError("model", f"{name} has no trainable parameters")
    return module.train()


def _try_once(module: nn.Module, name: str, shape: Shape, classes: int) -> None:
    """One forward pass: the model fits the data, and lazy parameters get their shapes."""
    try:
        with torch.no_grad():
            outputs = module.eval()(torch.zeros(2, *shape))
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            "model", f"{name} fails on an input of shape {shape}: {reason}"
        ) from error
    got = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
    if got != (2, classes):
        raise ConfigError(
            "model", f"{name} must map 2 inputs to outputs of shape {(2, classes)}, not {got}"
        )


def _mlp(shape: Shape, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(math.prod(shape), 128), nn.ReLU(), nn.Linear(128, classes)
    )


def _convolutional(first: int, second: int, hidden: int) -> Callable[[Shape, int], nn.Module]:
    """Two strided convolutions, which need no pooling, and two linear layers."""

    def build(shape: Shape, classes: int) -> nn.Module:
        channels, height, width = shape
        area = -(-height // 6) * -(-width // 6)
        return nn.Sequential(
            nn.Conv2d(channels, first, kernel_size=5, stride=3, padding=2),
            nn.ReLU(),
            nn.Conv2d(first, second, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(second * area, hidden),
            nn.ReLU(),
            nn.Linear(hidden, classes),
        )

    return build


def _resnet18(shape: Shape, classes: int) -> nn.Module:
    """ResNet-18 for small images (He et al. 2016), with GroupNorm (Wu and He 2018).

    GroupNorm has no running statistics, which would differ between devices. The first convolution
    keeps the resolution, and there is no max-pooling, as usual for images of 32 x 32.
    """
    models = import_torchvision().models
    module: nn.Module = models.resnet18(
        num_classes=classes, norm_layer=lambda channels: nn.GroupNorm(32, channels)
    )
    stem = nn.Conv2d(shape[0], 64, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    module.conv1, module.maxpool = stem, nn.Identity()
    return module


_BUILDERS: dict[str, Callable[[Shape, int], nn.Module]] = {
    "mlp": _mlp,
    "cnn": _convolutional(16, 32, 96),
    "cnn-large": _convolutional(32, 64, 600),
    "resnet18": _resnet18,
}


def _builder(name: str) -> Callable[[Shape, int], nn.Module]:
    if name in _BUILDERS:
        return _BUILDERS[name]
    near = difflib.get_close_matches(name, _BUILDERS, n=1)
    hint = f"did you mean {near[0]}?" if near else "your own is named my_package.nets:build"
    raise ConfigError("model", f"no model {name!r}; built in are {', '.join(_BUILDERS)}", hint)
