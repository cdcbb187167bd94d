"""The model that `model` names: a built-in one, or the user's own."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

import torch
from torch import nn

from hierfl.config.types import Spec, name_of, options_of
from hierfl.errors import ConfigError
from hierfl.learning.data import Form
from hierfl.learning.user_code import call_own, is_own, place_of
from hierfl.learning.zoo import ZOO
from hierfl.protocol.facts import Facts

KEY = "model"

INTEGERS = "Integers stay integers; data.standardize: federation makes floats of them."


def build_model(spec: Spec, form: Form, facts: Facts, seed: int) -> nn.Module:
    """Build a model whose first weights depend on the seed only.

    Args:
        spec: a built-in, or `module:function`, which is called with those of `shape`, `classes`,
            `outputs`, `facts` and `seed` that it takes; with options, `{name: {option: value}}`.
        form: what it is given, and is to give.
        facts: of the data.
        seed: of the initial weights; torch's own random state is left as it was.

    Returns:
        A module mapping inputs [n, *form.shape] to float32 [n, *form.outputs], in training mode.

    Raises:
        ConfigError: no such model, it has nothing to train, or it does not fit the data.
        UserCodeError: the user's function fails.
    """
    name, options = name_of(spec), options_of(spec)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed % 2**63)
        if is_own(name):
            offered = {
                "shape": form.shape, "classes": form.classes, "outputs": form.outputs,
                "facts": facts, "seed": seed, **options,
            }  # fmt: skip
            module = call_own(name, KEY, **offered)
        else:
            module = _built_in(name, options, form)
        if not isinstance(module, nn.Module):
            raise ConfigError(KEY, f"{name} gave a {type(module).__name__}, not a torch.nn.Module")
        _try_once(module, name, form, facts)
    if not any(p.requires_grad for p in module.parameters()):
        raise ConfigError(KEY, f"{name} has no trainable parameters")
    return module.train()


def _built_in(name: str, options: dict[str, Any], form: Form) -> nn.Module:
    if name not in ZOO:
        near = difflib.get_close_matches(name, ZOO, n=1)
        hint = f"did you mean {near[0]}?" if near else "your own is named my_package.nets:build"
        raise ConfigError(KEY, f"no model {name!r}; built in are {', '.join(ZOO)}", hint)
    builder = ZOO[name]
    known = [p.name for p in inspect.signature(builder).parameters.values()][1:]
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known) or 'none'}"
            raise ConfigError(f"{KEY}.{name}.{option}", "there is no such option", hint)
    try:
        return builder(form, **options)
    except (TypeError, ValueError, ArithmeticError, RuntimeError, AssertionError) as error:
        raise ConfigError(KEY, f"{name} cannot be built: {_first_line(error)}") from error


def _try_once(module: nn.Module, name: str, form: Form, facts: Facts) -> None:
    """One forward pass: the model fits the data, and lazy parameters get their shapes."""
    if form.shape is None:
        return
    dtype = torch.int64 if _stay_integers(facts) else torch.float32
    try:
        with torch.no_grad():
            outputs = module.eval()(torch.zeros(2, *form.shape, dtype=dtype))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        place = place_of(error) if is_own(name) else None
        raise ConfigError(
            KEY,
            f"{name} fails on an input of shape {form.shape} ({str(dtype).removeprefix('torch.')})"
            f": {_first_line(error)}" + (f"\n{place}" if place else ""),
            _hint(module, dtype) if "dtype" in str(error) else None,
        ) from error
    if form.outputs is None:
        return
    got = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
    if got != (2, *form.outputs):
        raise ConfigError(
            KEY, f"{name} must map 2 inputs to outputs of shape {(2, *form.outputs)}, not {got}"
        )


def _hint(module: nn.Module, dtype: torch.dtype) -> str:
    """Return what can be done about types that do not go together."""
    if dtype == torch.int64:
        return INTEGERS
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and parameter.dtype != torch.float32:
            return f"What is trained must be float32; {name} is {parameter.dtype}."
    return "Inputs are float32: a frozen part of another type needs them cast."


def _stay_integers(facts: Facts) -> bool:
    """Return whether a model is given integers; bytes that are standardised are floats."""
    return facts.highest is not None


def _first_line(error: BaseException) -> str:
    said = str(error).partition("\n")[0]
    return (
        said if isinstance(error, RuntimeError | ValueError) else f"{type(error).__name__}: {said}"
    )
