"""Let torchvision be imported where its binary does not load.

torchvision's published binary is linked against CUDA. Beside a CPU-only torch it does not load,
and `import torchvision` then stops at `operator torchvision::nms does not exist`: it registers
shape functions for two detection operators that the binary would have declared. Declaring their
schemas is enough for data sets, transforms and classification models, none of which calls them.
"""

from __future__ import annotations

import functools
import importlib
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import torch

from hierfl.errors import HierflError

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def import_torchvision() -> ModuleType:
    """torchvision, with the schemas of its detection operators declared if nothing else does.

    Raises:
        HierflError: torchvision is not installed.
    """
    if find_spec("torchvision") is None:
        raise HierflError("torchvision is not installed", "pip install --no-deps torchvision")
    declare_operators()
    return importlib.import_module("torchvision")


@functools.cache
def declare_operators() -> torch.library.Library | None:
    """Declare what a later `import torchvision` needs, also one in the user's own code.

    Returns:
        The library that holds the declarations, which end with it; None where none are needed.
    """
    spec = find_spec("torchvision")
    if spec is None or _binary_loads(spec.submodule_search_locations or []):
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)  # type: ignore[no-untyped-call]
    return library


def _binary_loads(folders: list[str]) -> bool:
    """Whether torchvision's operators are there once its own binary has been tried."""
    for binary in (path for folder in folders for path in Path(folder).glob("_C*")):
        try:
            torch.ops.load_library(binary)  # type: ignore[no-untyped-call]
        except OSError:
            continue
    return hasattr(torch.ops.torchvision, "nms")
