"""The command line: the list of commands, and the exit code of each error."""

from __future__ import annotations

import errno
import functools
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import Annotated, NoReturn

import click
import typer

from hierfl.cli import (
    catalog,
    engine,
    experiments,
    federation,
    links,
    machines,
    models,
    project,
    results,
    roles,
    tools,
)
from hierfl.cli.options import with_page
from hierfl.errors import ConfigError, HierflError, RunFailed, render
from hierfl.process.descriptors import raise_limit

INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

START, RESULTS, NODES = "Start here", "Results", "Nodes"
EXPERIMENTS, MACHINES, FLOWER = "Experiments", "Machines", "Flower"
COMMANDS: dict[Callable[..., None], str] = {
    project.init: START, federation.run: START, federation.validate: START,
    catalog.list_: START, catalog.schema: START,
    results.status: RESULTS, results.report: RESULTS, results.plot: RESULTS,
    models.evaluate: RESULTS, models.export: RESULTS,
    roles.cloud: NODES, roles.edge: NODES, roles.device: NODES, tools.certs: NODES,
    tools.doctor: NODES,
    experiments.compare: EXPERIMENTS, experiments.tune: EXPERIMENTS,
    experiments.sweep: EXPERIMENTS, experiments.assign: EXPERIMENTS,
    experiments.loadtest: EXPERIMENTS, experiments.plan: EXPERIMENTS,
    machines.deploy: MACHINES, tools.compose: MACHINES,
    tools.accelerate: FLOWER, engine.down: FLOWER,
}  # fmt: skip
for each, panel in COMMANDS.items():
    app.command(each.__name__.rstrip("_"), rich_help_panel=panel)(each)
app.command(hidden=True)(roles.app_node)
app.command(hidden=True)(roles.app_server)
app.add_typer(engine.up, name="up", rich_help_panel=FLOWER)
app.add_typer(tools.data, name="data", rich_help_panel=START)
app.add_typer(links.link, name="link", rich_help_panel=MACHINES)


def _say_version(asked: bool) -> None:
    if asked:
        from hierfl import __version__

        print(f"hierfl {__version__}")
        raise typer.Exit


@app.callback()
def hierfl(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Hierarchical federated learning on real machines, one bit per coordinate and step.

    Example: hierfl run --set algorithm.rounds=5
    """
    signal.signal(signal.SIGTERM, _interrupt)
    raise_limit()


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Treat SIGTERM as Ctrl-C."""
    raise KeyboardInterrupt


@functools.cache
def command() -> click.Command:
    """Return the whole command line; the fork server makes it once for all nodes."""
    return typer.main.get_command(app)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit. Errors become exit codes here and nowhere else.

    0: done; 1: failed; 2: the configuration or the arguments are wrong; 3: a node's parent said
    that the run has failed; 130: interrupted. Any other exception is a bug in hierfl or in the
    user's code, and its traceback is shown.
    """
    sys.exit(_exit_code(sys.argv[1:] if arguments is None else list(arguments)))


def _exit_code(arguments: list[str]) -> int:
    try:
        with command().make_context("hierfl", with_page(arguments)) as context:
            command().invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.UsageError as error:
        return _report(_usage_error(error, arguments))
    except HierflError as error:
        return _report(error)
    except BrokenPipeError:  # whoever reads has seen enough
        return _nobody_reads()
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        return _report(_too_few_descriptors(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _nobody_reads()
    return 0


def _nobody_reads() -> int:
    """Let what is still printed go nowhere, so that Python's own flush at the end does not fail."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _too_few_descriptors(error: OSError) -> HierflError:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return RunFailed(
        f"{error.strerror}: this process may have {limit} at a time",
        "Raise the limit, for example with `ulimit -n 1024` or LimitNOFILE= in a systemd unit.",
    )


def _usage_error(error: click.UsageError, arguments: Sequence[str]) -> ConfigError:
    command = error.ctx.command_path if error.ctx else "hierfl"
    hint = f"See {command} --help."
    if isinstance(error, click.NoSuchOption) and _takes_sets(error.ctx):
        from hierfl.config.error_report import keys_named

        name = error.option_name.lstrip("-").replace("-", "_")
        if key := next(iter(keys_named(name)), None):
            value = _value_of(error.option_name, arguments)
            return ConfigError(
                "", f"no such option: {error.option_name}", f"Did you mean --set {key}={value}?"
            )
    return ConfigError("", error.format_message(), hint)


def _takes_sets(context: click.Context | None) -> bool:
    return context is not None and any("--set" in each.opts for each in context.command.params)


def _value_of(option: str, arguments: Sequence[str]) -> str:
    """Return what was given for an option, or VALUE."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument.startswith(f"{option}="):
            return argument.partition("=")[2]
        if argument == option and following and not following.startswith("-"):
            return following
    return "VALUE"


def _report(error: HierflError) -> int:
    if error.message:
        with suppress(OSError):  # standard error may be a log file on a full disk
            print(render(error), file=sys.stderr, flush=True)
    return error.exit_code
