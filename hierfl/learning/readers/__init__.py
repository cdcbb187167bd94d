"""Readers of one's own files, which need no code: what stands under `data.dataset`."""

from __future__ import annotations

from pathlib import Path

from hierfl.config.data_section import Csv, Dataset, Images, Npz, TextFiles
from hierfl.learning.data import Data, Targets
from hierfl.learning.readers.images import read_images
from hierfl.learning.readers.npz import read_npz
from hierfl.learning.readers.table import read_csv
from hierfl.learning.readers.text import read_text


def read(dataset: Dataset, root: Path, targets: Targets) -> Data:
    """Return what a reader finds in a node's folder.

    Args:
        dataset: which reader, and its keys.
        root: the folder.
        targets: how the task takes targets.

    Raises:
        DataError: there are no such files, or they are not as they should be.
    """
    match dataset.reader[1]:
        case Csv() as keys:
            return read_csv(keys, root, targets)
        case Npz() as keys:
            return read_npz(keys, root)
        case Images() as keys:
            return read_images(keys, root)
        case TextFiles() as keys:
            return read_text(keys, root)
