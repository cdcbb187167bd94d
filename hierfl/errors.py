"""Expected errors, which a user can correct.

They are shown on one screen without a traceback. Any other exception is a bug in hierfl or in the
user's code and is shown with its traceback.
"""

from __future__ import annotations


class HierflError(Exception):
    """Base of all expected errors.

    Args:
        message: what happened, naming the file, the key or the peer.
        hint: what to do about it, or None.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(HierflError):
    """A topology file, an option or an argument is wrong."""

    exit_code = 2

    def __init__(self, path: str, message: str, hint: str | None = None) -> None:
        super().__init__(f"{path}: {message}" if path else message, hint)
        self.path = path


class DataError(HierflError):
    """A data set is absent or unreadable."""


class PayloadError(HierflError):
    """Bytes from a peer or a file are malformed."""


class CheckpointError(HierflError):
    """A checkpoint cannot be written, or is damaged."""


class LinkError(HierflError):
    """A peer cannot be reached, was lost, or broke the protocol."""


class PeerRefused(LinkError):
    """The parent does not admit this node, and will not if it asks again."""


class RunFailed(HierflError):
    """The federation stopped: a node failed or disagrees with the others."""


class ParentFailed(RunFailed):
    """The parent says that the run has failed; the cause is reported by another node.

    Args:
        reason: the parent's message.
    """

    exit_code = 3

    def __init__(self, reason: str) -> None:
        super().__init__(f"the run has failed: {reason}")
        self.reason = reason


SCREEN_LINES = 40

LONGEST_WORDS = 1000
"""The most characters of a peer's message that are logged and passed on."""


def shortened(words: str) -> str:
    r"""Return a peer's message, which may be anything, as it can be logged and shown: one line.

    What a terminal would obey, and what would pass for a line of its own, is escaped.

    >>> shortened("all is well \x1b[2J\nreally")
    'all is well \\x1b[2J | really'
    """
    cut = words if len(words) <= LONGEST_WORDS else words[:LONGEST_WORDS] + "..."
    return escaped(" | ".join(cut.splitlines()))


def escaped(text: str) -> str:
    r"""Return a text with all characters escaped that are not printable.

    >>> escaped("\x1b]0;owned\x07")
    '\\x1b]0;owned\\x07'
    """
    if text.isprintable():
        return text
    return "".join(
        letter
        if letter.isprintable()
        else letter.encode("unicode_escape", "surrogatepass").decode()
        for letter in text
    )


def render(error: HierflError) -> str:
    """The text of `error` for a terminal: what happened, then what to do; one screen at most."""
    lines = [escaped(line) for line in f"error: {error.message}".splitlines()]
    if len(lines) > SCREEN_LINES:
        left_out = len(lines) - SCREEN_LINES
        lines[SCREEN_LINES:] = [f"... ({left_out} more lines)"]
    if error.hint:
        lines += [f"  {escaped(line)}" for line in error.hint.splitlines()]
    return "\n".join(lines)
