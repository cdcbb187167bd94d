"""Loading data sets: the built-in ones from local files, and the user's own."""

from __future__ import annotations

import difflib
from collections.abc import Sized
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hierfl.errors import ConfigError, DataError
from hierfl.learning.dataset import Data, Split
from hierfl.learning.idx import read_idx
from hierfl.learning.sources import IDX_STEMS, SOURCES, Source, find, idx_file
from hierfl.learning.torch_compat import import_torchvision
from hierfl.learning.user_code import call_own, is_own

_KEY = "data.dataset"

_DIGITS = Path("datasets", "data", "digits.csv.gz")


def load_dataset(name: str, root: Path | None = None) -> Data:
    """Load a data set that is already on this machine; nothing is downloaded.

    Args:
        name: `fashion-mnist`, `mnist`, `cifar10`, `digits`, or `module:function`, which is called
            with `root` if it takes it and returns (train, test): each a pair of tensors (inputs,
            labels) or a torch Dataset of such items.
        root: where to look first; see `places.find`.

    Raises:
        DataError: the files are absent or damaged, or the user's function gave something else.
        ConfigError: no such data set or function.
    """
    if is_own(name):
        return _own(name, root)
    if name == "digits":
        return _digits()
    source = known_source(name)
    folder = find(source, root)
    if folder is None:
        debian = "\n  Debian's package dataset-fashion-mnist" if name == "fashion-mnist" else ""
        raise DataError(
            f"{name} is not on this machine",
            f"""any of these brings it:
  hierfl data get {name}
  torchvision.datasets.{source.torchvision}(ROOT, download=True), then --set data.root=ROOT{debian}
or use one that needs no download: --set data.dataset=digits""",
        )
    return _idx(source, folder) if source.idx else _cifar10(source, folder)


def known_source(name: str) -> Source:
    """The built-in set of that name that lies in files, or ConfigError."""
    if name in SOURCES:
        return SOURCES[name]
    known = [*SOURCES, "digits"]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else "your own is named my_package.data:load"
    raise ConfigError(_KEY, f"no data set {name!r}; built in are {', '.join(known)}", hint)


def _idx(source: Source, folder: Path) -> Data:
    files = [idx_file(folder, stem) or folder / stem for stem in IDX_STEMS]
    train_images, train_labels, test_images, test_labels = map(read_idx, files)
    return _images(
        source, (train_images[:, None], train_labels), (test_images[:, None], test_labels)
    )


def _cifar10(source: Source, folder: Path) -> Data:
    dataset = import_torchvision().datasets.CIFAR10
    try:
        halves = [dataset(folder, train=train) for train in (True, False)]
    except (RuntimeError, OSError) as error:
        raise DataError(f"{folder}: {error}", f"hierfl data get {source.name}") from error
    train, test = ((h.data.transpose(0, 3, 1, 2), np.array(h.targets)) for h in halves)
    return _images(source, train, test)


Arrays = tuple[npt.NDArray[np.uint8], npt.NDArray[np.integer]]


def _images(source: Source, train: Arrays, test: Arrays) -> Data:
    """Ten classes of images of bytes, and the constants that standardise them."""
    mean, std = (torch.tensor(c).mul(255).view(-1, 1, 1) for c in (source.mean, source.std))
    splits = [
        Split(
            torch.from_numpy(np.ascontiguousarray(images)),
            torch.from_numpy(labels.astype(np.int64)),
            mean,
            std,
        )
        for images, labels in (train, test)
    ]
    return Data(splits[0], splits[1], 10, tuple(splits[0].inputs.shape[1:]))


def _digits() -> Data:
    """1,797 handwritten digits of 8 x 8 pixels from 0 to 16; a fifth of them, fixed, for tests.

    They are read from scikit-learn's file: importing scikit-learn takes each process a second.
    """
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise DataError(
            "digits come with scikit-learn, which is not installed", "pip install hierfl[digits]"
        )
    table = np.loadtxt(Path(spec.origin).parent / _DIGITS, np.uint8, delimiter=",")
    images = torch.from_numpy(table[:, :64].reshape(-1, 1, 8, 8))
    labels = torch.from_numpy(table[:, 64].astype(np.int64))
    order = torch.from_numpy(np.random.Generator(np.random.PCG64(0)).permutation(len(labels)))
    whole = Split(images, labels, torch.tensor(4.884), torch.tensor(6.017))
    test, train = order.tensor_split([len(labels) // 5])
    return Data(whole.take(train), whole.take(test), 10, (1, 8, 8))


def _own(name: str, root: Path | None) -> Data:
    halves = call_own(name, _KEY, root=root)
    if not isinstance(halves, tuple | list) or len(halves) != 2:
        raise DataError(f"{name} must return (train, test), not {type(halves).__name__}")
    try:
        (inputs, labels), (test_inputs, test_labels) = map(_tensors, halves)
        mean, std = _moments(inputs)
        train = Split(inputs, labels, mean, std)
        test = Split(test_inputs, test_labels, mean, std)
    except (TypeError, ValueError, RuntimeError, DataError) as error:
        raise DataError(
            f"{name}: {error}",
            "each half is (inputs, labels) or a Dataset of (tensor, int) of one shape",
        ) from error
    shape, test_shape = (tuple(half.inputs.shape[1:]) for half in (train, test))
    if shape != test_shape:
        raise DataError(f"{name}: inputs of shape {shape} to train, {test_shape} to test")
    classes = 1 + max(int(half.labels.max()) for half in (train, test))
    return Data(train, test, classes, shape)


def _tensors(half: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs (bytes stay bytes, all else becomes float32) and labels."""
    if isinstance(half, tuple | list) and len(half) == 2:
        inputs, labels = (torch.as_tensor(part) for part in half)
    elif isinstance(half, Sized):
        items = [half[i] for i in range(len(half))]  # type: ignore[index]
        inputs = torch.stack([torch.as_tensor(item) for item, _ in items])
        labels = torch.tensor([int(label) for _, label in items])
    else:
        raise TypeError(f"a half is a {type(half).__name__}")
    if inputs.dtype != torch.uint8:
        inputs = inputs.to(torch.float32)
    return inputs, labels.to(torch.int64)


def _moments(inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of bytes; floats are taken to be standardised."""
    if inputs.dtype != torch.uint8:
        return torch.tensor(0.0), torch.tensor(1.0)
    share = torch.bincount(inputs.reshape(-1), minlength=256).double() / inputs.numel()
    values = torch.arange(256, dtype=torch.float64)
    mean = (share * values).sum()
    std = (share * (values - mean) ** 2).sum().sqrt().clamp(min=1.0)
    return mean.float(), std.float()
