"""Where the files of the built-in data sets are looked for, and put."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hierfl.protocol.facts import Facts

SYSTEM = Path("/usr/share/datasets")  # where Debian's packages put them

IDX_STEMS = (
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A built-in image set that lies in files.

    Attributes:
        name: as in a topology file.
        torchvision: the name of torchvision's class, and of its folder for IDX sets.
        idx: whether the set is four IDX files; otherwise it is CIFAR-10's batches.
        mean: of the training pixels, per channel, on the scale 0 to 1.
        std: as `mean`.
    """

    name: str
    torchvision: str
    idx: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]


SOURCES = {
    source.name: source
    for source in (
        Source("fashion-mnist", "FashionMNIST", True, (0.2860,), (0.3530,)),
        Source("mnist", "MNIST", True, (0.1307,), (0.3081,)),
        Source("cifar10", "CIFAR10", False, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    )
}


def _ten_classes(*shape: int) -> Facts:
    return Facts(0, shape, "uint8", labels=tuple(range(10)), target_shape=())


FORMS = {
    "fashion-mnist": _ten_classes(1, 28, 28),
    "mnist": _ten_classes(1, 28, 28),
    "cifar10": _ten_classes(3, 32, 32),
    "digits": _ten_classes(1, 8, 8),
}
"""What is known of each built-in set before it is loaded."""


def cache() -> Path:
    """Where `hierfl data get` puts data sets unless told otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hierfl" / "data"


def find(source: Source, root: Path | None) -> Path | None:
    """The first folder that has all the set's files, or None.

    Looked through in this order: `root`, $HIERFL_DATA, the cache, /usr/share/datasets; in each,
    the set's own folder as hierfl and Debian lay it out, and as torchvision does. `root` may also
    be the set's folder itself.
    """
    return next((f for f in _folders(source, root) if is_whole(source, f)), None)


def _folders(source: Source, root: Path | None) -> Iterator[Path]:
    environment = os.environ.get("HIERFL_DATA")
    usual = [Path(environment)] if environment else []
    usual += [cache(), SYSTEM]
    if root is not None:
        usual.insert(0, root)
        yield root
    for place in usual:
        yield place / source.name
        yield place / source.torchvision / "raw" if source.idx else place


def is_whole(source: Source, folder: Path) -> bool:
    """Whether all the set's files are in the folder."""
    if source.idx:
        return all(idx_file(folder, stem) is not None for stem in IDX_STEMS)
    return (folder / "cifar-10-batches-py").is_dir()


def idx_file(folder: Path, stem: str) -> Path | None:
    """The plain or gzipped file of that name."""
    files = (folder / stem, folder / f"{stem}.gz")
    return next((file for file in files if file.is_file()), None)


def bytes_of(source: Source, folder: Path) -> int:
    """The bytes that the set's files take up."""
    if source.idx:
        files = [idx_file(folder, stem) for stem in IDX_STEMS]
    else:
        files = [*(folder / "cifar-10-batches-py").iterdir()]
    return sum(file.stat().st_size for file in files if file is not None)
