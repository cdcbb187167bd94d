"""Bringing a built-in data set onto this machine, by whichever way works here."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hierfl.errors import DataError
from hierfl.learning.datasets import known_source, load_dataset
from hierfl.learning.sources import IDX_STEMS, Source, cache, find
from hierfl.learning.torch_compat import import_torchvision

Report = Callable[[str], None]

_DEBIAN = {"fashion-mnist": "dataset-fashion-mnist"}
_SILENCE = 5.0  # seconds without a byte before a server counts as out of reach
_APT_LIMIT = 300.0  # seconds


def obtain(name: str, root: Path | None, report: Report) -> Path:
    """Bring a data set onto this machine, unless it is there.

    Args:
        name: a built-in data set.
        root: where its folder is put; None: the cache, ~/.cache/hierfl/data.
        report: told, a line at a time, what happens.

    Returns:
        The folder of its files.

    Raises:
        DataError: no way works here; the text says how each failed.
        ConfigError: there is no such data set.
    """
    if name == "digits":
        load_dataset(name)
        report("digits come with scikit-learn: nothing to fetch")
        import sklearn

        return Path(sklearn.__file__).parent
    source = known_source(name)
    folder = find(source, root)
    if folder is not None:
        load_dataset(name, root)  # a damaged file is named
        report(f"{name} is in {folder}")
        return folder
    target = (root or cache()) / name
    ways = {"torchvision": _torchvision}
    if name in _DEBIAN:
        ways["Debian's package"] = _debian
    failures = []
    for label, way in ways.items():
        report(f"{name}: trying {label}")
        try:
            with _aside(target) as aside:
                _keep(source, way(source, aside), target)
        except (DataError, OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            report(f"  {reason}")
            failures.append(f"  {label}: {reason}")
            continue
        report(f"{name} is in {target}")
        return target
    raise DataError(_none_works(source, failures), _elsewhere(source, target))


def _none_works(source: Source, failures: list[str]) -> str:
    return "\n".join([f"{source.name} cannot be had here:", *failures])


def _elsewhere(source: Source, target: Path) -> str:
    package = _DEBIAN.get(source.name)
    lines = [
        f"on a machine that can: torchvision.datasets.{source.torchvision}(ROOT, download=True),",
        f"  or there `hierfl data get {source.name}`; then copy the files to {target}",
        f"on Debian: apt install {package}" if package else "",
        "without any download: --set data.dataset=digits",
    ]
    return "\n".join(line for line in lines if line)


@contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """A temporary folder on the target's file system, so that files can be renamed into place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as folder:
        yield Path(folder)


def _keep(source: Source, fetched: Path, target: Path) -> None:
    """Move the set's files into place, once they have been read whole.

    Each file is renamed by itself and a set counts only with all of them there, so whatever
    interrupts this leaves a set that is whole or one that is not taken for it.
    """
    load_dataset(source.name, fetched)
    names = [f"{stem}.gz" for stem in IDX_STEMS]
    if not source.idx:
        batches = fetched / "cifar-10-batches-py"
        names = [f"{batches.name}/{file.name}" for file in batches.iterdir()]
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(fetched / name, target / name)


def _torchvision(source: Source, aside: Path) -> Path:
    dataset = getattr(import_torchvision().datasets, source.torchvision)
    urls = (
        [f"{m}{dataset.resources[0][0]}" for m in dataset.mirrors] if source.idx else [dataset.url]
    )
    if not any(map(_answers, urls)):
        raise DataError(f"none of its {len(urls)} servers can be reached from here")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENCE * 4)
    try:
        dataset(aside, download=True)
    finally:
        socket.setdefaulttimeout(before)
    return aside / source.torchvision / "raw" if source.idx else aside


def _answers(url: str) -> bool:
    """Whether a server is in reach; a thread of its own, since name look-ups know no time limit."""
    answered = threading.Event()

    def ask() -> None:
        try:
            urllib.request.urlopen(url, timeout=_SILENCE).close()
        except urllib.error.HTTPError:
            pass  # an answer all the same
        except OSError:
            return
        answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(2 * _SILENCE)
    return answered.is_set()


def _debian(source: Source, aside: Path) -> Path:
    """The package's files, without installing it and without being root.

    Tried first with the machine's package lists; where they are missing or out of date, with
    lists fetched into a folder of our own, which leaves the machine's as they are.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise DataError(f"{tool} is not on this machine")
    package = _DEBIAN[source.name]
    lists, archives = aside / "lists", aside / "archives"
    for folder in (lists / "partial", archives / "partial"):
        folder.mkdir(parents=True)
    own = ["-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={archives}"]
    try:
        _apt(["download", package], aside)
    except DataError:
        _apt([*own, "update"], aside)
        _apt([*own, "download", package], aside)
    archive = next(aside.glob(f"{package}_*.deb"))
    _call(["dpkg-deb", "-x", str(archive), str(aside / "files")], aside)
    return aside / "files" / "usr" / "share" / "datasets" / source.name


def _apt(arguments: list[str], folder: Path) -> None:
    limits = [f"Acquire::{scheme}::Timeout={_SILENCE * 2:.0f}" for scheme in ("http", "https")]
    # apt would fetch as user _apt, who may not enter a private folder
    options = [*limits, "Acquire::Retries=1", "APT::Sandbox::User=root"]
    _call(["apt-get", "-q", *(part for o in options for part in ("-o", o)), *arguments], folder)


def _call(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_APT_LIMIT,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(f"{command[0]} took longer than {_APT_LIMIT:.0f} s") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise DataError(f"{command[0]} failed: {said[-1]}")
