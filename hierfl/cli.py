"""The command line."""

from __future__ import annotations

import logging
import os
import signal
import sys
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from hierfl import lifeline
from hierfl.config import Config, load_config
from hierfl.errors import ConfigError, HierflError, render
from hierfl.loader import load
from hierfl.plan import resolve

app = typer.Typer(
    help="Hierarchical federated learning on real machines, one bit per coordinate and step.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Topology = Annotated[Path | None, typer.Argument(help="The topology file (YAML).")]
Required = Annotated[Path, typer.Argument(help="The topology file (YAML).")]
Sets = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Set a key of the topology; repeatable."),
]
Out = Annotated[Path | None, typer.Option(help="The run folder; by default runs/NAME-TIME.")]
Name = Annotated[str, typer.Option(help="The node's name in the topology.")]


@app.command()
def run(
    topology: Topology = None,
    sets: Sets = [],  # noqa: B006  (typer copies it)
    out: Out = None,
    resume: Annotated[bool, typer.Option(help="Go on with the run in --out.")] = False,
) -> None:
    """Run a whole federation on this machine."""
    if resume:
        raise ConfigError("--resume", "going on with an earlier run is not there yet")
    config = resolve(load_config(topology, sets))
    folder = _run_folder(config, out)
    if config.runtime == "memory":
        _one_thread()
        _part("deploy.memory:run_memory")(config, folder, _view(config, folder))
    else:
        raise typer.Exit(_part("deploy.local:run_local")(config, out=folder))


@app.command()
def cloud(
    topology: Required,
    sets: Sets = [],  # noqa: B006
    out: Out = None,
    name: Name = "cloud",
) -> None:
    """Run the cloud."""
    config = _node(topology, sets)
    folder = _run_folder(config, out)
    _one_thread()
    _part("cloud.main:run")(config, folder, _view(config, folder))


@app.command()
def edge(topology: Required, name: Name, sets: Sets = []) -> None:  # noqa: B006
    """Run one edge."""
    _part("edge.main:run")(_node(topology, sets), name)


@app.command()
def device(topology: Required, name: Name, sets: Sets = []) -> None:  # noqa: B006
    """Run one device."""
    config = _node(topology, sets)
    _one_thread()
    _part("clients.main:run")(config, name)


def _node(topology: Path, sets: list[str]) -> Config:
    lifeline.watch()
    signal.signal(signal.SIGTERM, _terminate)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("flwr").setLevel(logging.WARNING)
    return resolve(load_config(topology, sets))


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _one_thread() -> None:
    """One torch thread per process: nodes share the machine, and sums keep their order."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import_torch = __import__("torch")
    import_torch.set_num_threads(1)


def _run_folder(config: Config, out: Path | None) -> Path:
    folder = out or Path("runs") / f"{config.name}-{datetime.now():%Y%m%d-%H%M%S}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(config.to_yaml())
    except OSError as error:
        raise HierflError(f"cannot write into {folder}: {error.strerror}") from error
    return folder


def _view(config: Config, folder: Path) -> Any:
    return _part("cloud.view:View")()


def _part(reference: str) -> Any:
    """Return a part of hierfl that lies above this layer."""
    return load(reference, "")


def main() -> None:
    """Run the command line; the only place where an error becomes an exit code."""
    try:
        app(standalone_mode=False)
    except HierflError as error:
        print(render(error), file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
