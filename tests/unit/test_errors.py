"""Expected errors fit on one screen and say what to do."""

from hierfl.errors import (
    SCREEN_LINES,
    ConfigError,
    LinkError,
    PeerRefused,
    RunFailed,
    render,
    shortened,
)


def test_what_happened_comes_first_then_what_to_do() -> None:
    error = ConfigError("algorithm.lr", "should be greater than 0, got -1", "Try\n0.002.")
    assert render(error) == (
        "error: algorithm.lr: should be greater than 0, got -1\n  Try\n  0.002."
    )
    assert render(RunFailed("the cloud is gone")) == "error: the cloud is gone"


def test_one_screen_at_most() -> None:
    text = render(RunFailed("\n".join(map(str, range(1000))), "Read the log."))
    lines = text.splitlines()
    assert len(lines) == SCREEN_LINES + 2
    assert lines[-2:] == [f"... ({1000 - SCREEN_LINES} more lines)", "  Read the log."]


def test_exit_codes() -> None:
    assert ConfigError("", "x").exit_code == 2
    assert RunFailed("x").exit_code == PeerRefused("x").exit_code == 1
    assert issubclass(PeerRefused, LinkError)
    assert str(ConfigError("", "x")) == "x"


def test_what_a_peer_says_is_one_line_that_no_terminal_obeys() -> None:
    said = "x\n2026-11-28 09:00:00 INFO hierfl: all is well\r\x1b[2J\x1b]0;x\x07\x9b\u202e\ud800"
    shown = shortened(said)
    assert shown.isprintable() and "all is well" in shown
    assert render(RunFailed(said, said)).replace("\n", "").isprintable()
