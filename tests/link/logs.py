"""Doing something when the log says something."""

from __future__ import annotations

import logging
from collections.abc import Callable


class On(logging.Handler):
    """While entered, calls `then` at every warning of `logger` that says `what`.

    Attributes:
        seen: those warnings.
    """

    def __init__(self, logger: logging.Logger, what: str, then: Callable[[], object]) -> None:
        super().__init__(logging.WARNING)
        self.seen: list[str] = []
        self._logger, self._what, self._then = logger, what, then

    def emit(self, record: logging.LogRecord) -> None:
        if self._what in record.getMessage():
            self.seen.append(record.getMessage())
            self._then()

    def __enter__(self) -> On:
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
