"""Image files, a folder for each class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from hierfl.config.data_section import Images
from hierfl.errors import DataError
from hierfl.learning.data import Data
from hierfl.learning.torch_compat import import_torchvision


def read_images(keys: Images, root: Path) -> Data:
    """Return images, uint8 [3, height, width], each read when a batch needs it.

    Raises:
        DataError: there is no folder, no class in it, or no image in a class.
    """
    train = Folder(root / keys.folder)
    if keys.test is None:
        return Data(train, labels=train.classes, raw=True)
    test = Folder(root / keys.test)
    if strangers := {*test.classes} - {*train.classes}:
        raise DataError(f"{root / keys.test}: {root / keys.folder} has no class {min(strangers)!r}")
    test.number_as(train.classes)
    return Data(train, test, labels=train.classes, raw=True)


class Folder(Dataset[Any]):
    """torchvision's ImageFolder, whose items are tensors.

    Attributes:
        classes: names of its classes.
        targets: the class of each image.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise DataError(
                f"{folder}: there is no such folder",
                "It is data.dataset.images.folder in data.root: a folder of folders, one a class.",
            )
        torchvision = import_torchvision()
        try:
            self._files = torchvision.datasets.ImageFolder(folder)
        except (FileNotFoundError, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise DataError(
                f"{folder}: {reason}", "It should hold a folder for each class."
            ) from error
        self._to_tensor = torchvision.transforms.functional.pil_to_tensor
        self.classes: list[str] = self._files.classes
        self.targets: list[int] = self._files.targets

    def number_as(self, classes: list[str]) -> None:
        """Number the classes as they stand in a list."""
        table = [classes.index(name) for name in self.classes]
        self.targets = [table[target] for target in self.targets]
        self.classes = classes

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Return an image and its class.

        Raises:
            DataError: the file is damaged.
        """
        path, _ = self._files.samples[index]
        try:
            return self._to_tensor(self._files.loader(path)), self.targets[index]
        except Exception as error:  # whatever the readers of many formats raise
            said = str(error).partition("\n")[0]
            raise DataError(f"{path}: {said}", "It is damaged, or no image.") from error
