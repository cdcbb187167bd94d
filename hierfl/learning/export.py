"""The model of a run in a file for other programs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch

from hierfl.errors import ConfigError, HierflError
from hierfl.learning.saved import SavedModel

KINDS = (".pt", ".onnx")


def export(run: SavedModel, to: Path) -> None:
    """Write a run's model: .pt, the state_dict for `torch.load`; .onnx, the model as a graph.

    Inputs of the graph are as the model gets them: standardised, where the run has done that.

    Raises:
        HierflError: for a failure that the user can correct.
    """
    if to.suffix not in KINDS:
        raise ConfigError("--out", f"{to} should end in {' or '.join(KINDS)}")
    if to.exists():
        raise ConfigError("--out", f"{to} is there already", "Give another file.")
    module = run.model()
    try:
        if to.suffix == ".pt":
            tensors = {name: tensor.clone() for name, tensor in module.state_dict().items()}
            with to.open("wb") as file:  # torch.save itself raises RuntimeError for a bad path
                torch.save(tensors, file)
        else:
            _onnx(run, module, to)
    except OSError as error:
        raise ConfigError("--out", f"cannot write {to}: {error.strerror}") from error


def _onnx(run: SavedModel, module: torch.nn.Module, to: Path) -> None:
    for package in ("onnx", "onnxscript"):
        if find_spec(package) is None:
            raise HierflError(f"{package} is not installed", "pip install 'hierfl[onnx]'")
    form = run.task.form(run.facts)
    if form.shape is None:
        raise ConfigError("--out", "an input of this model is not one tensor")
    dtype = torch.float32 if run.facts.highest is None else torch.int64
    example = torch.zeros(2, *form.shape, dtype=dtype)
    batch = torch.export.Dim("batch")
    try:
        torch.onnx.export(
            module, (example,), to, input_names=["input"], output_names=["output"],
            dynamic_shapes=({0: batch},), dynamo=True, external_data=False, verbose=False,
        )  # fmt: skip
    except Exception as error:  # whatever its many parts raise
        said = str(error).strip().splitlines()
        raise HierflError(
            f"the model cannot be written as ONNX: {said[0] if said else type(error).__name__}"
        ) from error
