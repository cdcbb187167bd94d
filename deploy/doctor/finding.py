"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Grade = Literal["ok", "warning", "failure"]


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        grade: a failure prevents a node from running; a warning may do so, now or later.
        what: what was checked.
        text: its state.
        remedy: what to do about it; "" if it is ok.
    """

    grade: Grade
    what: str
    text: str
    remedy: str = ""

    def line(self) -> str:
        """Return the finding as one line of text.

        >>> Finding("failure", "port", "7 is taken.", "Take 8.").line()
        'failure  port                   7 is taken. Take 8.'
        """
        words = " ".join(f"{self.text} {self.remedy}".split())
        return f"{self.grade:8} {self.what:22} {words}"


def ok(what: str, text: str) -> Finding:
    """Return a finding about what is as it should be."""
    return Finding("ok", what, text)


def warning(what: str, text: str, remedy: str) -> Finding:
    """Return a finding about what may go wrong."""
    return Finding("warning", what, text, remedy)


def failure(what: str, text: str, remedy: str) -> Finding:
    """Return a finding about what keeps a node from running."""
    return Finding("failure", what, text, remedy)
