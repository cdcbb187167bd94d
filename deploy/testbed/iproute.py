"""Runs the programs `ip` and `tc`, and checks that they can be used."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Literal

from hierfl.errors import ConfigError, RunFailed


def require() -> None:
    """Check that networks can be created.

    Raises:
        ConfigError: if they cannot, on this machine or by this user.
    """
    if sys.platform != "linux":
        raise ConfigError("--testbed", f"network namespaces require Linux; this is {sys.platform}")
    for program in ("ip", "tc"):
        if shutil.which(program) is None:
            hint = "Install iproute2 (Debian: `apt install iproute2`)."
            raise ConfigError("--testbed", f"the program {program} is not installed", hint)
    if os.geteuid() != 0:
        raise ConfigError("--testbed", "only root may create networks", "Use sudo.")


class Refused(RunFailed):
    """A command of `ip` or `tc` failed.

    Attributes:
        command: the command.
        reason: the program's message.
    """

    def __init__(self, program: str, command: str, reason: str) -> None:
        super().__init__(
            f"`{program} {command}` failed: {reason}",
            "Check that root may create network namespaces; in a container this requires "
            "CAP_SYS_ADMIN.",
        )
        self.command = command
        self.reason = reason


def batch(program: Literal["ip", "tc"], commands: Sequence[str], namespace: str = "") -> None:
    """Run commands of `ip` or `tc`, in a namespace or, without one, in the current one.

    Raises:
        Refused: for the first command that fails.
    """
    inside = ["-n", namespace] if namespace else []
    done = subprocess.run(
        [program, *inside, "-batch", "-"],
        input="\n".join(commands) + "\n",
        capture_output=True,
        text=True,
        start_new_session=True,  # Ctrl-C must reach only the launcher
    )
    if done.returncode != 0:
        line = re.search(r"Command failed -:(\d+)", done.stderr)
        command = commands[int(line[1]) - 1] if line else " ".join([*inside, "-batch"])
        raise Refused(program, command, done.stderr.strip().partition("\n")[0])
