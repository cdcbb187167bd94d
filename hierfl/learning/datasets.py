"""The data set that `data.dataset` names: a built-in one, one's own files, or one's own code."""

from __future__ import annotations

import difflib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hierfl.config import Config
from hierfl.errors import ConfigError, DataError
from hierfl.learning.data import Data, Node, Targets
from hierfl.learning.idx import read_idx
from hierfl.learning.prepare import Standard
from hierfl.learning.readers import read
from hierfl.learning.sources import IDX_STEMS, SOURCES, Source, find, idx_file
from hierfl.learning.torch_compat import import_torchvision
from hierfl.learning.user_code import call_own, is_own

_KEY = "data.dataset"

_DIGITS = Path("datasets", "data", "digits.csv.gz")


def load_named(config: Config, node: Node, targets: Targets) -> Data:
    """Load what `data.dataset` names.

    Args:
        config: the federation's configuration.
        node: whose data are asked for.
        targets: how the task takes targets.

    Raises:
        DataError: it is not there, or not as it should be.
        ConfigError: no such data set or function.
        UserCodeError: the user's function fails.
    """
    dataset = config.data.dataset
    root = None if config.data.root is None else node.root
    if dataset.name is None:
        return read(dataset, node.root, targets)
    if is_own(dataset.name):
        return _own(dataset.name, node, root)
    if root is not None and not root.is_dir():
        raise DataError(f"{root}: there is no such folder", "It is data.root.")
    return load_dataset(dataset.name, root)


def load_dataset(name: str, root: Path | None = None) -> Data:
    """Load a built-in data set that is already on this machine; nothing is downloaded.

    Args:
        name: `fashion-mnist`, `mnist`, `cifar10` or `digits`.
        root: where to look first; see `sources.find`.

    Raises:
        DataError: the files are absent or damaged.
        ConfigError: no such data set.
    """
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
    halves = [
        (torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(labels.astype(np.int64)))
        for images, labels in (train, test)
    ]
    return Data(*halves, standard=Standard(mean, std))


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
    test, train = order.tensor_split([len(labels) // 5])
    halves = [(images[part], labels[part]) for part in (train, test)]
    return Data(*halves, standard=Standard(torch.tensor(4.884), torch.tensor(6.017)))


def _own(name: str, node: Node, root: Path | None) -> Data:
    """Call the user's function: it returns Data, or (train, test)."""
    offered: dict[str, Any] = {
        "root": root, "node": node, "name": node.name, "edge": node.edge, "role": node.role,
    }  # fmt: skip
    loaded = call_own(name, _KEY, **offered)
    if isinstance(loaded, Data):
        return loaded
    if not isinstance(loaded, tuple | list) or len(loaded) != 2:
        raise DataError(
            f"{name} must return hierfl.Data or (train, test), not {type(loaded).__name__}",
            "Each is (inputs, targets), or a map-style Dataset.",
        )
    return Data(*loaded)
