"""torchvision's transforms by name, on the inputs of samples."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils.data import Dataset

from hierfl.config.types import Spec, name_of, options_of
from hierfl.errors import ConfigError, DataError
from hierfl.learning.samples import Read, Samples
from hierfl.learning.torch_compat import import_torchvision

Transform = Callable[[torch.Tensor], torch.Tensor]


def make_transform(specs: Sequence[Spec], key: str) -> Transform:
    """Return transforms of `torchvision.transforms.v2`, one after the other.

    Args:
        specs: names, with options where a transform has some: {Resize: {size: [32, 32]}}.
        key: the configuration key that holds them.

    Raises:
        ConfigError: there is no such transform, or its options are wrong.
    """
    import_torchvision()
    from torchvision.transforms import v2

    known = {name for name in dir(v2) if isinstance(getattr(v2, name), type)}
    steps: list[nn.Module] = []
    for i, spec in enumerate(specs):
        name = name_of(spec)
        if name not in known or not issubclass(getattr(v2, name), nn.Module):
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else None
            raise ConfigError(f"{key}.{i}", f"torchvision has no transform {name!r}", hint)
        options = options_of(spec)
        try:
            steps.append(getattr(v2, name)(**{k: _value(v) for k, v in options.items()}))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{key}.{i}", f"{name}: {error}") from error
    return nn.Sequential(*steps)


def _value(value: Any) -> Any:
    """Return an option; a type of torch's has its name: dtype: torch.float32."""
    if isinstance(value, str) and value.startswith("torch."):
        return getattr(torch, value.removeprefix("torch."), value)
    return value


def transformed(samples: Samples, transform: Transform, key: str) -> Read:
    """Return samples whose inputs go through a transform, one by one, when a batch needs them."""
    return Read(_Transformed(samples, transform, key))


class _Transformed(Dataset[Any]):
    """Samples as a Dataset. Its `targets` are those of the samples, where these know them."""

    def __init__(self, samples: Samples, transform: Transform, key: str) -> None:
        self._samples = samples
        self._transform = transform
        self._key = key
        if isinstance(samples, Read) and hasattr(samples.dataset, "targets"):
            self.targets = torch.as_tensor(samples.dataset.targets)[samples.indices]

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Any:
        one = self._samples.batch(slice(index, index + 1))
        item = pytree.tree_map(lambda tensor: tensor[0], one)
        inputs, *rest = item if isinstance(item, tuple | list) else (item,)
        try:
            inputs = self._transform(inputs)
        except (TypeError, ValueError, RuntimeError) as error:
            said = str(error).partition("\n")[0]
            raise DataError(
                f"{self._key} fails on an input of shape {tuple(inputs.shape)}: {said}"
            ) from error
        return (inputs, *rest) if isinstance(item, tuple | list) else inputs
