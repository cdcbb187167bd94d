"""Where a topology's relative paths begin, and where its own modules are looked for."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from hierfl import loader
from hierfl.config.schema import Config

_PATHS = {
    "start_from": ("start_from",),
    "data.root": ("data", "root"),
    "security.certs": ("security", "certs"),
    "security.revoked": ("security", "revoked"),
    "app.path": ("app", "path"),
}


def placed(config: Config, file: Path | None, given: Collection[str]) -> Config:
    """Return a configuration whose relative paths mean the same in the current folder.

    Those of a file begin at its `folder` or, where it names none, at the folder that it lies in;
    those of options begin at the current folder. Modules are looked for at both.

    Args:
        config: as it was read.
        file: from which file; None: from none, and nothing changes.
        given: dotted keys that options have set.
    """
    here = Path.cwd()
    folder = file.parent.resolve() if file is not None else here
    if config.folder is not None:
        folder = ((here if _is_given("folder", given) else folder) / config.folder).resolve()
    if file is not None or config.folder is not None:
        loader.look_in(folder)
    if folder == here and config.folder is None:
        return config
    for key, steps in _PATHS.items():
        config = _moved(config, steps, here if _is_given(key, given) else folder)
    return config.model_copy(update={"folder": folder})


def fixed(config: Config) -> Config:
    """Return a configuration that means the same wherever it is read."""
    here = Path.cwd()
    for steps in _PATHS.values():
        config = _moved(config, steps, here)
    return config.model_copy(update={"folder": config.folder or here})


def as_written(config: Config, path: Path | None) -> Path | None:
    """Return one of a configuration's paths as it stands in the file: relative, below `folder`."""
    if path is not None and config.folder is not None and path.is_relative_to(config.folder):
        return path.relative_to(config.folder)
    return path


def _is_given(key: str, given: Collection[str]) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in given)


def _moved(part: Any, steps: tuple[str, ...], folder: Path) -> Any:
    """Return a part of a configuration with a path in it made absolute, if it has that path."""
    step, *rest = steps
    inner = getattr(part, step)
    if inner is None:
        return part
    changed = _moved(inner, tuple(rest), folder) if rest else folder / inner
    return part if changed == inner else part.model_copy(update={step: changed})
