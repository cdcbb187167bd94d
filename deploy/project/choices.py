"""What `hierfl init` is told, and what follows from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hierfl.errors import ConfigError

OWN = "own"
OF_IMAGES = ("classification", "reconstruction")
"""The tasks that the built-in sets, images of ten classes, are fit for."""


@dataclass(frozen=True)
class Choices:
    """A federation to be.

    Attributes:
        folder: where its files go; the last part is its name.
        data: `own`, or a built-in set.
        task: a built-in one.
        edges: how many, > 0.
        devices: of each edge, > 0.
        hosts: whether nodes run on machines of their own; else all on one.
    """

    folder: Path
    data: str
    task: str
    edges: int
    devices: int
    hosts: bool

    @property
    def name(self) -> str:
        """The federation's name."""
        return self.folder.name

    @property
    def owns(self) -> bool:
        """Whether each device has data of its own."""
        return self.data == OWN

    @property
    def class_name(self) -> str:
        """The name of the class in task.py: garden-2 makes Garden2."""
        words = re.findall(r"[A-Za-z0-9]+", self.name)
        joined = "".join(word[0].upper() + word[1:] for word in words)
        return joined if joined[0].isalpha() else f"Task{joined}"

    def tree(self) -> dict[str, list[str]]:
        """Return edge -> its devices; devices are numbered through."""
        return {
            f"edge-{edge + 1}": [
                f"device-{edge * self.devices + k + 1}" for k in range(self.devices)
            ]
            for edge in range(self.edges)
        }


def check(choices: Choices) -> None:
    """Refuse what does not go together, and a name that a federation cannot have.

    Raises:
        ConfigError: as said.
    """
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", choices.name) is None:
        raise ConfigError(
            "NAME",
            f"{choices.name!r} cannot be a federation's name",
            "It has letters, digits and _.- only, and begins with a letter or a digit.",
        )
    if not choices.owns and choices.task not in OF_IMAGES:
        raise ConfigError(
            "--task",
            f"{choices.data} is a set of images of ten classes, which {choices.task} cannot use",
            f"Choose {' or '.join(OF_IMAGES)}, or --data own.",
        )
