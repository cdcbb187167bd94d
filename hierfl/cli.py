"""The command line."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TextIO

import click
import typer

from hierfl import __version__, lifeline
from hierfl.errors import ConfigError, HierflError, render

if TYPE_CHECKING:
    from hierfl.config import Config

INTERRUPTED = 130

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
State = Annotated[
    Path | None,
    typer.Option(help="Where the node's checkpoints are; by default .hierfl/NAME-OF-FEDERATION."),
]
Name = Annotated[str, typer.Option(help="The node's name in the topology.")]


def _say_version(asked: bool) -> None:
    if asked:
        print(f"hierfl {__version__}")
        raise typer.Exit


@app.callback()
def hierfl(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Hierarchical federated learning on real machines, one bit per coordinate and step."""


@app.command()
def run(
    topology: Topology = None,
    sets: Sets = [],  # noqa: B006  (typer copies it)
    out: Out = None,
    resume: Annotated[bool, typer.Option(help="Go on with the unfinished run in --out.")] = False,
) -> None:
    """Run a whole federation on this machine."""
    if resume:
        topology = _unfinished(topology, sets, out)
    config = _config(topology, sets)
    if config.runtime == "process":
        _check_identities(config)
    folder = _claim(config, out, topology, resume=resume)
    if config.runtime == "memory":
        signal.signal(signal.SIGTERM, _terminate)
        _quiet_flower()
        _run_here("deploy.memory:run_memory", config, folder)
    else:
        raise typer.Exit(_part("deploy.local:run_local")(config, out=folder))


@app.command()
def validate(topology: Required, sets: Sets = []) -> None:  # noqa: B006
    """Check a topology, and show its tree and the bytes that it will send."""
    config = _config(topology, sets)
    _one_thread()
    from hierfl.describe import show

    show(config, sys.stdout)


@app.command()
def certs(
    topology: Required,
    out: Annotated[Path, typer.Option(help="The folder of the certificates.")],
    sets: Sets = [],  # noqa: B006
    days: Annotated[
        int, typer.Option(min=1, max=3650, help="How long a node's certificate is valid.")
    ] = 365,
    renew: Annotated[
        bool, typer.Option("--renew", help="Replace the nodes' certificates; keys and CA stay.")
    ] = False,
) -> None:
    """Make a CA and a certificate for each node, for `security.certs`."""
    from hierfl.certs import make_certificates, report
    from hierfl.config import load_config

    made = make_certificates(load_config(topology, sets), out, days=days, renew=renew)
    print("\n".join(report(made, out)))


@app.command()
def cloud(
    topology: Required,
    sets: Sets = [],  # noqa: B006
    out: Out = None,
    name: Name = "cloud",
) -> None:
    """Run the cloud."""
    config = _node(topology, sets)
    if sys.stderr.isatty():  # there the view says who comes and goes
        logging.getLogger().setLevel(logging.WARNING)
    _run_here("cloud.main:run", config, _claim(config, out, topology, resume=True))


@app.command()
def edge(
    topology: Required,
    name: Name,
    sets: Sets = [],  # noqa: B006
    state: State = None,
) -> None:
    """Run one edge."""
    config = _node(topology, sets)
    _part("edge.main:run")(config, name, _state(config, state))


@app.command()
def device(
    topology: Required,
    name: Name,
    sets: Sets = [],  # noqa: B006
    state: State = None,
) -> None:
    """Run one device."""
    config = _node(topology, sets)
    _one_thread()
    _part("clients.main:run")(config, name, _state(config, state))


@app.command()
def accelerate(
    folder: Annotated[
        Path, typer.Argument(metavar="APP_FOLDER", help="The folder with its pyproject.toml.")
    ],
    nodes: Annotated[int, typer.Option(min=1, metavar="N", help="How many nodes take part.")],
    run_config: Annotated[
        list[str],
        typer.Option(
            metavar="'KEY=VALUE ...'",
            help="Set keys of the app's config, or give a TOML file, as in `flwr run`; repeatable.",
        ),
    ] = [],  # noqa: B006
) -> None:
    """Run an unchanged Flower app on this machine, over the link."""
    _part("deploy.accelerate:accelerate")(folder, nodes, run_config)


@app.command(hidden=True)
def app_node(seat: Annotated[str, typer.Argument(help="What `accelerate` tells it.")]) -> None:
    """Run one node of `accelerate`, which starts it."""
    _be_node()
    _part("deploy.app_node:run")(seat)


@data_app.command("get")
def data_get(
    name: Annotated[str, typer.Argument(help="fashion-mnist, mnist, cifar10 or digits.")],
    root: Annotated[
        Path | None, typer.Option(help="Where its folder is put; by default ~/.cache/hierfl/data.")
    ] = None,
) -> None:
    """Bring a data set onto this machine, unless it is there."""
    from hierfl.learning.obtain import obtain
    from hierfl.learning.places import SOURCES, bytes_of
    from hierfl.units import size

    folder = obtain(name, root, lambda line: print(line, file=sys.stderr))
    held = f"  {size(bytes_of(SOURCES[name], folder))}" if name in SOURCES else ""
    print(f"{folder}{held}")


# -- what several commands do ---------------------------------------------------------------------


def _config(topology: Path | None, sets: list[str]) -> Config:
    from hierfl.config import load_config
    from hierfl.plan import resolve

    return resolve(load_config(topology, sets))


def _check_identities(config: Config) -> None:
    """See that all nodes, which will be on this machine, can show who they are."""
    from hierfl.config import CLOUD
    from hierfl.security import identity

    for edge, devices in config.tree().items():
        for name in (CLOUD, edge, *devices):
            identity(config, name)


def _node(topology: Path, sets: list[str]) -> Config:
    _be_node()
    _quiet_flower()
    return _config(topology, sets)


def _be_node() -> None:
    """Get ready to be one node, perhaps one that a launcher has started and will stop."""
    lifeline.watch()
    signal.signal(signal.SIGTERM, _terminate)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        handlers=[_Stderr()],
    )


class _Stderr(logging.StreamHandler[TextIO]):
    """Logs to whatever standard error is now: a live view takes it over for a while."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        """What the constructor sets is not kept."""


def _quiet_flower() -> None:
    import flwr.app  # noqa: F401  (importing it sets the level of its log)

    logging.getLogger("flwr").setLevel(logging.WARNING)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _state(config: Config, state: Path | None) -> Path:
    return state or Path(".hierfl") / config.name


def _claim(config: Config, out: Path | None, source: Path | None, resume: bool) -> Path:
    from hierfl.folder import claim

    return claim(config, out, source, resume)


def _unfinished(topology: Path | None, sets: list[str], out: Path | None) -> Path:
    """Return the configuration of an unfinished run."""
    if out is None or topology is not None or sets:
        raise ConfigError(
            "--resume", "a run goes on exactly as it was", "Give --resume and --out DIR, no more."
        )
    if not (out / "checkpoints").is_dir():
        raise ConfigError("--resume", f"{out} holds no run to go on with")
    return out / "config.yaml"


def _run_here(reference: str, config: Config, folder: Path) -> None:
    """Run what shows a view: the cloud, or everything in this process."""
    with closing(_part("cloud.view:open_view")(config, folder)) as view:
        _one_thread()
        _part(reference)(config, folder, view)


def _one_thread() -> None:
    from hierfl.learning.threads import one_thread

    one_thread()


def _part(reference: str) -> Callable[..., Any]:
    """Return a part of hierfl that lies above this layer, so that no module here imports it."""
    module, _, name = reference.partition(":")
    part: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return part


# -- exit codes -----------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit; the only place where an error becomes an exit code.

    0: done; 1: failed; 2: the configuration or the arguments are wrong; 3: a node's parent said
    that the run has failed; 130: interrupted. Any other exception is a defect, of hierfl or of the
    user's code, and keeps its traceback.
    """
    code = _exit_code(sys.argv[1:] if arguments is None else list(arguments))
    if lifeline.supervised():
        # Taking torch and gRPC down piece by piece takes a second, for which a launcher waits.
        logging.shutdown()
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _exit_code(arguments: list[str]) -> int:
    command = typer.main.get_command(app)
    try:
        with command.make_context("hierfl", arguments) as context:
            command.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.UsageError as error:
        return _report(_usage_error(error))
    except HierflError as error:
        return _report(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _usage_error(error: click.UsageError) -> ConfigError:
    command = error.ctx.command_path if error.ctx else "hierfl"
    return ConfigError("", error.format_message(), f"See {command} --help.")


def _report(error: HierflError) -> int:
    if error.message:
        with suppress(OSError):  # standard error may be a log on a disk that is full
            print(render(error), file=sys.stderr, flush=True)
    return error.exit_code


if __name__ == "__main__":
    main()
