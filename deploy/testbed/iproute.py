"""The programs that make networks, and what must be there for them."""

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
    """See that networks can be made here.

    Raises:
        ConfigError: not on this machine, or not by this user.
    """
    if sys.platform != "linux":
        raise ConfigError("--testbed", f"network namespaces need Linux, this is {sys.platform}")
    for program in ("ip", "tc"):
        if shutil.which(program) is None:
            hint = "It belongs to iproute2: `apt install iproute2`, or your system's like."
            raise ConfigError("--testbed", f"there is no program {program} here", hint)
    if os.geteuid() != 0:
        raise ConfigError("--testbed", "only root may make networks", "Try it with sudo.")


class Refused(RunFailed):
    """`ip` or `tc` has refused a command.

    Attributes:
        command: which.
        reason: its words.
    """

    def __init__(self, program: str, command: str, reason: str) -> None:
        super().__init__(
            f"`{program} {command}` failed: {reason}",
            "Does this machine let root make network namespaces? In a container that takes the "
            "right CAP_SYS_ADMIN.",
        )
        self.command = command
        self.reason = reason


def batch(program: Literal["ip", "tc"], commands: Sequence[str], namespace: str = "") -> None:
    """Let `ip` or `tc` carry out commands, in a namespace or outside all.

    Raises:
        Refused: the first that it does not.
    """
    inside = ["-n", namespace] if namespace else []
    done = subprocess.run(
        [program, *inside, "-batch", "-"],
        input="\n".join(commands) + "\n",
        capture_output=True,
        text=True,
        start_new_session=True,  # Ctrl-C is for the launcher
    )
    if done.returncode != 0:
        line = re.search(r"Command failed -:(\d+)", done.stderr)
        command = commands[int(line[1]) - 1] if line else " ".join([*inside, "-batch"])
        raise Refused(program, command, done.stderr.strip().partition("\n")[0])
