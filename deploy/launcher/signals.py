"""What makes a launcher end early: a node that failed, or a signal."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from deploy.launcher.process import NodeProcess, describe
from hierfl.errors import RunFailed


def failure(process: NodeProcess, code: int) -> RunFailed:
    """Return the error that says which node ended, how, and what it said last."""
    command = process.command
    early = " before the run was over" if code == 0 else ""
    node = command.role if command.role == command.name else f"{command.role} {command.name}"
    failed = RunFailed(
        f"{node} ended with {describe(code)}{early}; the end of its log:\n{process.last_words()}",
        f"The whole log is {command.log}.",
    )
    if code == 2:
        failed.exit_code = 2
    return failed


@contextmanager
def signals(interrupt: Callable[[], None]) -> Iterator[None]:
    """While inside, SIGINT and SIGTERM call `interrupt` and nothing else."""

    def handle(number: int, frame: FrameType | None) -> None:
        interrupt()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
