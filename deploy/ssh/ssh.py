"""Commands on a host through the system's ssh, with its configuration, agents and jump hosts."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from deploy.ssh.inventory import Host
from hierfl.errors import RunFailed

OPTIONS = (
    "-o", "BatchMode=yes", "-o", "ConnectTimeout=10",
    "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4",
)  # fmt: skip
BROKEN = 255
"""The exit code of ssh if ssh itself fails, not the command."""

LAST_LINES = 12


class Remote:
    """A host's shell.

    Args:
        host: the host.
        ssh_config: ssh's configuration; None: the user's own.
    """

    def __init__(self, host: Host, ssh_config: Path | None) -> None:
        self._command = ["ssh", *OPTIONS]
        if ssh_config is not None:
            self._command += ["-F", str(ssh_config)]
        if host.port is not None:
            self._command += ["-p", str(host.port)]
        if host.identity is not None:
            self._command += ["-i", str(host.identity), "-o", "IdentitiesOnly=yes"]
        self._target = host.ssh or host.name
        self._command += ["--", self._target]

    def __str__(self) -> str:
        return shlex.join(part for part in self._command if part not in OPTIONS)

    def root(self, script: str, data: bytes = b"") -> str:
        """Run a shell script as root, with sudo if the login user is not root.

        Args:
            script: the script, for `sh`.
            data: its standard input.

        Returns:
            Its standard output.

        Raises:
            RunFailed: if the host cannot be reached, or the script fails.
        """
        quoted = shlex.quote(f"set -e\n{script}")
        become = f'if [ "$(id -u)" = 0 ]; then exec sh -c {quoted}; fi; exec sudo -n sh -c {quoted}'
        try:
            done = subprocess.run(
                [*self._command, f"sh -c {shlex.quote(become)}"], input=data, capture_output=True
            )
        except FileNotFoundError:
            raise RunFailed(
                "ssh is not installed on this machine", "Install the OpenSSH client."
            ) from None
        if done.returncode == 0:
            return done.stdout.decode(errors="replace")
        said = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace").splitlines()
        words = "\n".join(said[-LAST_LINES:]) or f"exit code {done.returncode}"
        if done.returncode == BROKEN:
            raise RunFailed(
                f"cannot be reached: {words}", f"Check that `ssh {self._target}` works."
            )
        raise RunFailed(words)
