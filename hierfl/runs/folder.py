"""The run folder as a command finds it: it has one owner, and a run starts where no other is."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path

from hierfl.config import CLOUD, Config
from hierfl.config.folder import fixed
from hierfl.errors import ConfigError, RunFailed
from hierfl.protocol.checkpoint_files import make_private
from hierfl.runs.owner import owner
from hierfl.runs.resume import check

RESULTS = (
    "metrics.jsonl", "events.jsonl", "summary.json", "model.safetensors", "checkpoints",
    "report.html",
)  # fmt: skip
UNFINISHED = ("metrics.jsonl", "checkpoints")
"""One of them is there once a run has begun."""

LOCK = ".lock"


@contextmanager
def claimed(
    config: Config,
    out: Path | None,
    *,
    source: Path | None = None,
    resume: bool = False,
    nodes: Collection[str] = (CLOUD,),
    accept_loss: bool = False,
    launched: bool = False,
) -> Iterator[tuple[Path, list[str]]]:
    """Own the folder for a run, which exists inside and holds the configuration.

    Args:
        config: the configuration, resolved.
        out: the folder that was asked for; None: a new one, runs/NAME-TIME.
        source: the file that the configuration was read from; as the folder's own `config.yaml`
            it stays as it is, whatever the command line has changed for this node.
        resume: whether an unfinished run of the same configuration may be there, to go on with.
        nodes: those whose state is in the folder.
        accept_loss: whether to go on where some of it is lost.
        launched: whether the owner is the launcher that has started this process.

    Yields:
        The folder, and what a person should know of it, a line each.

    Raises:
        ConfigError: the folder holds another run, or one that has lost something.
        RunFailed: another process owns it, or it cannot be written to.
    """
    place = out or Path("runs") / f"{config.name}-{datetime.now():%Y%m%d-%H%M%S}"
    with ExitStack() as stack:
        try:
            if out is None:
                place = make_new(place)
            _make(place)
            if not launched:
                stack.enter_context(owner(place / LOCK, str(place)))
            _refuse_results(place, resume)
            _keep(fixed(config).to_yaml(), place / "config.yaml", source)
            told = check(config, place, nodes, accept_loss) if resume else []
        except (FileExistsError, NotADirectoryError):
            raise ConfigError("--out", f"{place} is, or is below, a file") from None
        except OSError as error:
            raise _cannot_write(place, error) from None
        yield place, told


def _refuse_results(place: Path, resume: bool) -> None:
    """See that no results are in the folder but those of a run to go on with."""
    there = [name for name in RESULTS if (place / name).exists()]  # other nodes make some meanwhile
    if resume and any(name in UNFINISHED for name in there):
        there = [name for name in there if name == "summary.json"]
    if there:
        raise ConfigError(
            "--out", f"{place} holds an earlier run's {there[0]}", "Give another folder."
        )


def make_new(place: Path) -> Path:
    """Make the folder, under another name if a run that began in the same second has made it.

    Raises:
        OSError: if it cannot be made.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        name = place.name if number == 1 else f"{place.name}-{number}"
        with suppress(FileExistsError):
            place.with_name(name).mkdir(mode=0o700)
            break
    return place.with_name(name)


def _make(place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.mkdir(mode=0o700, exist_ok=True)


PERMANENT = {errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.ENOENT}
"""What is wrong with a name, whatever the disk's state."""


def _cannot_write(place: Path, error: OSError) -> ConfigError | RunFailed:
    said = f"cannot write into {place}: {error.strerror}"
    if error.errno in PERMANENT:
        return ConfigError("--out", said)
    return RunFailed(f"--out: {said}", "Make room or mend the folder, or give another one.")


def _keep(text: str, file: Path, source: Path | None) -> None:
    """Write the configuration, unless it is there."""
    if not file.exists():
        file.write_text(text, encoding="utf-8")
        return
    if source is not None and source.exists() and file.samefile(source):
        return
    if file.read_text(encoding="utf-8", errors="replace") != text:
        raise ConfigError(
            "--out", f"{file} is another configuration than this run's", "Give another folder."
        )


ENDING_S = 10.0
"""Seconds in which a node ends whose launcher was killed."""


@contextmanager
def owned(state: Path, name: str) -> Iterator[None]:
    """Own what a node of this name keeps in a state folder, which is made.

    Raises:
        RunFailed: another process is this node, or the folder cannot be written to.
    """
    with ExitStack() as stack:
        try:
            make_private(state)
            what = f"the state of {name} in {state}"
            stack.enter_context(owner(state / f"{name}.lock", what, ENDING_S))
        except OSError as error:
            raise RunFailed(f"cannot write into {state}: {error.strerror}") from None
        yield
