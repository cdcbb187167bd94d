"""A Flower app, as its folder describes it."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from deploy.stock_app.requirements import refuse_absent
from hierfl.config import Config
from hierfl.errors import ConfigError
from hierfl.link.flower_compat import flatten_dict, parse_config_args, validate_config
from hierfl.loader import load

Value = bool | float | int | str
T = TypeVar("T")


@dataclass(frozen=True)
class FlowerApp:
    """What `flwr run` knows of an app.

    Attributes:
        folder: where its code is, absolute.
        server: `module:attribute` of its ServerApp.
        client: `module:attribute` of its ClientApp.
        run_config: what its parts find in `context.run_config`.
        requires: the names of the packages that it depends on.
    """

    folder: Path
    server: str
    client: str
    run_config: dict[str, Value]
    requires: frozenset[str]

    def override(self, given: Mapping[str, Value], what: str) -> FlowerApp:
        """Return the app with some keys of its run config replaced.

        Args:
            given: the keys, dotted, with their new values.
            what: the option or the key that says so, for error texts.

        Raises:
            ConfigError: the app has no such key.
        """
        known = self.run_config
        for key in given:
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                raise ConfigError(
                    what,
                    f"the app has no {key!r} in [tool.flwr.app.config]",
                    f"Did you mean {close[0]!r}?"
                    if close
                    else f"It has {', '.join(known) or 'none'}.",
                )
        return replace(self, run_config={**known, **given})


def read_app(folder: Path, overrides: Sequence[str]) -> FlowerApp:
    """Read the pyproject.toml of an app.

    Args:
        folder: the app's folder.
        overrides: what `flwr run` takes as `--run-config`: texts of `key=value`, or a TOML file.

    Raises:
        ConfigError: there is no app, Flower would refuse it, or an override is wrong.
    """
    folder = folder.expanduser().resolve()
    file = folder / "pyproject.toml"
    try:
        project = tomllib.loads(file.read_text(encoding="utf-8"))
        valid, problems, _ = validate_config(project, check_module=False)
    except FileNotFoundError:
        raise ConfigError(
            str(folder),
            "there is no pyproject.toml",
            "Give the folder of a Flower app: what you would give `flwr run`.",
        ) from None
    except OSError as error:
        raise ConfigError(str(file), f"cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, AttributeError) as error:  # the last two: a key of a wrong type
        raise ConfigError(str(file), f"it is no Flower app: {error}") from None
    if not valid:
        listed = "\n".join(f"  - {' '.join(problem.split())}" for problem in problems)
        raise ConfigError(str(file), f"it is no Flower app that `flwr run` accepts:\n{listed}")
    app: dict[str, Any] = project["tool"]["flwr"]["app"]
    parts: dict[str, str] = app["components"]
    if not {"serverapp", "clientapp"} <= parts.keys():
        raise ConfigError(
            str(file), "[tool.flwr.app.components] has no serverapp and clientapp, both are needed"
        )
    _refuse_names(folder)
    dependencies = project["project"].get("dependencies", [])
    refuse_absent(str(file), dependencies)
    found = FlowerApp(
        folder=folder,
        server=parts["serverapp"],
        client=parts["clientapp"],
        run_config=flatten_dict(app.get("config", {})),
        requires=frozenset(map(_package, dependencies)),
    )
    return found.override(parse_texts(overrides, "--run-config"), "--run-config")


def app_of(config: Config) -> FlowerApp:
    """Return the app of a topology, with the topology's run config.

    Raises:
        ConfigError: the topology has no app, or see `read_app`.
    """
    if config.app is None:
        raise ConfigError("app", "this topology has no Flower app")
    return read_app(config.app.path, []).override(config.app.run_config, "app.run_config")


def _refuse_names(folder: Path) -> None:
    """Raise ConfigError if the app has a module with the name of a package that runs it."""
    for name in ("deploy", "hierfl"):
        for file in (folder / f"{name}.py", folder / name / "__init__.py"):
            if file.is_file():
                raise ConfigError(
                    str(file), "has the name of a package of hierfl, which hides it", "Rename it."
                )


def _package(requirement: str) -> str:
    """The package that a requirement names: `torch>=2.5` is torch."""
    return re.split(r"[^\w.-]", requirement.strip(), maxsplit=1)[0].lower()


def parse_texts(texts: Sequence[str], option: str) -> dict[str, Value]:
    """Parse what Flower's commands take as `--run-config` and `--node-config`.

    Raises:
        ConfigError: naming the option, it is none.
    """
    try:
        given: dict[str, Value] = parse_config_args(list(texts))
    except click.ClickException as error:
        raise ConfigError(option, error.message) from None
    except OSError as error:
        raise ConfigError(option, f"{error.filename}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(option, str(error)) from None
    if texts and not given:
        raise ConfigError(
            option,
            f"there is no KEY=VALUE in {' '.join(texts)!r}",
            f"""For example {option} 'num-server-rounds=5 name="first"', no spaces around =.""",
        )
    return given


def load_part(reference: str, part: str, kind: type[T], folder: Path) -> T:
    """Import an app's `part`, `serverapp` or `clientapp`.

    Raises:
        ConfigError: it cannot be had, or is not of its kind.
    """
    what = f"[tool.flwr.app.components] {part}"
    found = load(reference, what, folder)
    if not isinstance(found, kind):
        raise ConfigError(
            what, f"{reference} is a {type(found).__name__}, where a {kind.__name__} is needed"
        )
    return found
