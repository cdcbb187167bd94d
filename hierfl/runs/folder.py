"""The run folder as a command finds it: a run starts in one that holds no other run."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from itertools import count
from pathlib import Path

from hierfl.config import Config
from hierfl.errors import ConfigError

RESULTS = ("metrics.jsonl", "summary.json", "model.safetensors", "checkpoints", "report.html")


def claim(
    config: Config, out: Path | None, source: Path | None = None, resume: bool = False
) -> Path:
    """Return the folder for a run, which then exists and holds the configuration.

    Args:
        config: the configuration.
        out: the folder that was asked for; None: a new one, runs/NAME-TIME.
        source: the file that the configuration was read from; as the folder's own `config.yaml`
            it stays as it is, whatever the command line has changed for this node.
        resume: whether an unfinished run of the same configuration may be there, to go on with.

    Raises:
        ConfigError: the folder holds another run, or cannot be written to.
    """
    place = out or Path("runs") / f"{config.name}-{datetime.now():%Y%m%d-%H%M%S}"
    try:
        if out is None:
            place = make_new(place)
        place.mkdir(parents=True, exist_ok=True)
        goes_on = resume and (place / "checkpoints").exists()
        for name in ("summary.json",) if goes_on else RESULTS:
            if (place / name).exists():
                raise ConfigError(
                    "--out", f"{place} holds an earlier run's {name}", "Give another folder."
                )
        _keep(config.to_yaml(), place / "config.yaml", source)
    except (FileExistsError, NotADirectoryError):
        raise ConfigError("--out", f"{place} is, or is below, a file") from None
    except OSError as error:
        raise ConfigError("--out", f"cannot write into {place}: {error.strerror}") from None
    return place


def make_new(place: Path) -> Path:
    """Make the folder, under another name if a run that began in the same second has made it.

    Raises:
        OSError: if it cannot be made.
    """
    for number in count(1):
        name = place.name if number == 1 else f"{place.name}-{number}"
        with suppress(FileExistsError):
            place.with_name(name).mkdir(parents=True)
            break
    return place.with_name(name)


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
