from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from hierfl.cli import main


class Result(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def hierfl(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Run]:
    """The command line within this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    terminate = signal.getsignal(signal.SIGTERM)

    def run(*arguments: object) -> Result:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Result(int(end.value.code or 0), out, err)

    yield run
    signal.signal(signal.SIGTERM, terminate)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What a test lets hierfl's parts log ends with the test."""
    loggers = [logging.getLogger(name) for name in ("hierfl", "cloud", "edge", "clients", "deploy")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.level, logger.propagate = handlers, level, propagate
