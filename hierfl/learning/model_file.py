"""A model in a file: `state_dict` as safetensors or PyTorch write it."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from hierfl.errors import ConfigError, DataError
from hierfl.learning.flat_model import FlatModel

KEY = "start_from"
"""The key that names a file to start from."""

State = Mapping[str, torch.Tensor]


def to_safetensors(module: nn.Module) -> bytes:
    """Return a module's whole `state_dict`, each tensor in its own type.

    Of tensors that are one, tied parameters, the first name is kept and the others are named in the
    metadata, as `safetensors.torch.save_model` does: `load_model` reads it.
    """
    tensors: dict[str, torch.Tensor] = {}
    metadata: dict[str, str] = {"format": "pt"}
    kept: dict[tuple[object, ...], str] = {}
    for name, tensor in sorted(module.state_dict().items()):
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and key in kept:
            metadata[name] = kept[key]
            continue
        kept[key] = name
        tensors[name] = tensor.detach().clone(memory_format=torch.contiguous_format)
    return save(tensors, metadata)


def start_from(model: FlatModel, path: Path, key: str = KEY) -> None:
    """Set a model's parameters and buffers from a file.

    Args:
        model: whose tensors the file must hold, by name, in these shapes, and no others. Frozen
            parameters must be as they are, to the file's precision: nobody sends them to devices.
        path: of a safetensors file, or of a `state_dict` that `torch.save` has written.
        key: for errors.

    Raises:
        ConfigError: if it does not fit the model, or is of another kind. The model is then as it
            was.
        DataError: if it cannot be read now.
    """
    tensors = _as_named(_read(path, key), model.module)
    own = model.module.state_dict()
    aliases = _aliases(own)
    missing = [n for n in own if n not in tensors and not aliases[n] & tensors.keys()]
    excess = [n for n in tensors if n not in own]
    if missing or excess:
        said = [_listed("has no tensor", missing)] if missing else []
        said += [_listed("has a tensor that the model has not:", excess)] if excess else []
        raise ConfigError(key, f"{path} {' and '.join(said)}", _HINT)
    frozen = {name for name, p in model.module.named_parameters() if not p.requires_grad}
    frozen |= {other for name in frozen for other in aliases[name]}
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            shapes = f"{tuple(tensor.shape)}, not {tuple(own[name].shape)}"
            raise ConfigError(key, f"{path} holds {name} of shape {shapes}", _HINT)
        if not torch.isfinite(tensor).all() and torch.isfinite(own[name]).all():
            raise ConfigError(key, f"{path} holds a {name} that is not finite")
        if name in frozen and not torch.equal(tensor, own[name].to(tensor.dtype)):
            raise ConfigError(
                key, f"{path} holds other values of {name}, which is frozen",
                "Frozen parameters do not travel: let build() load them, at every node.",
            )  # fmt: skip
    with torch.no_grad():
        for name in tensors.keys() - frozen:
            tensor = tensors[name]
            value = tensor if own[name].is_floating_point() else tensor.double().round()
            own[name].copy_(value)


def _as_named(tensors: State, module: nn.Module) -> State:
    """Return tensors under the module's names: wrappers such as torch.compile's put one before."""
    own = module.state_dict().keys()
    if tensors.keys() & own:
        return tensors
    for before in ("_orig_mod.", "module."):
        if all(name.startswith(before) for name in tensors):
            return {name.removeprefix(before): tensor for name, tensor in tensors.items()}
        if all(name.startswith(before) for name in own):
            return {before + name: tensor for name, tensor in tensors.items()}
    return tensors


def _aliases(state: State) -> dict[str, set[str]]:
    """Return the other names of each tensor."""
    places = {name: (t.data_ptr(), t.shape) if t.numel() else name for name, t in state.items()}
    return {
        name: {other for other, there in places.items() if there == place and other != name}
        for name, place in places.items()
    }


def _listed(what: str, names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{what} {', '.join(names[:5])}{more}"


def _read(path: Path, key: str) -> State:
    try:
        if path.suffix == ".safetensors" or not _is_pytorch(path):
            return load(path.read_bytes())
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        reason = f"{path} cannot be read: {error.strerror}"
        raise DataError(f"{key}: {reason}", "Only the cloud's machine needs it.") from error
    except SafetensorError as error:
        kinds = "no safetensors" if path.suffix == ".safetensors" else "no PyTorch or safetensors"
        raise ConfigError(key, f"{path} is {kinds} file: {error}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ConfigError(
            key, f"{path} holds more than tensors, or is damaged",
            "Save the state_dict alone: torch.save(model.state_dict(), PATH).",
        ) from error  # fmt: skip
    for inner in ("state_dict", "model_state_dict", "model"):
        if isinstance(tensors, Mapping) and isinstance(tensors.get(inner), Mapping):
            tensors = tensors[inner]
    if not isinstance(tensors, Mapping) or not all(
        isinstance(tensor, torch.Tensor) for tensor in tensors.values()
    ):
        raise ConfigError(key, f"{path} holds no state_dict")
    return tensors


def _is_pytorch(path: Path) -> bool:
    """Return whether a file is a zip archive, as torch.save writes, or a pickle, as it did."""
    with path.open("rb") as file:
        begin = file.read(2)
    return begin in (b"PK", b"\x80\x02")


_HINT = "It must be of the model that `model` names; `hierfl validate` shows that one."
