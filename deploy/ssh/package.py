"""hierfl as a wheel, for hosts that do not have it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hierfl.errors import ConfigError, RunFailed

SOURCE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Package:
    """What pip is given on a host.

    Attributes:
        name: the wheel's file name.
        wheel: its bytes.
        constraints: the exact versions of what it needs; empty: pip chooses.
    """

    name: str
    wheel: bytes
    constraints: bytes

    def fingerprint(self) -> str:
        """Return what tells one from another."""
        return hashlib.sha256(
            hashlib.sha256(self.wheel).digest() + hashlib.sha256(self.constraints).digest()
        ).hexdigest()


def package(wheel: Path | None, constraints: Path | None) -> Package:
    """Return the given wheel, or one of the sources that run here, which have constraints too.

    The same sources give the same wheel.

    Raises:
        ConfigError: a file cannot be read, or no wheel is given and there are no sources.
        RunFailed: the wheel cannot be built.
    """
    if wheel is not None:
        return Package(wheel.name, _read("--wheel", wheel), _read_constraints(constraints))
    refuse_no_sources()
    with tempfile.TemporaryDirectory() as folder:
        build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, str(SOURCE)]
        done = subprocess.run([sys.executable, *build], capture_output=True, text=True)
        if done.returncode:
            raise RunFailed(f"no wheel could be built of {SOURCE}:\n{done.stderr[-1000:].strip()}")
        (built,) = Path(folder).glob("*.whl")
        own = SOURCE / "constraints.txt"
        if constraints is None and own.exists():
            constraints = own
        return Package(built.name, built.read_bytes(), _read_constraints(constraints))


def refuse_no_sources() -> None:
    """Refuse to build a wheel where there are no sources to build it of."""
    if not (SOURCE / "pyproject.toml").exists():
        raise ConfigError(
            "--wheel",
            "hierfl is installed here without its sources, so that no wheel can be built",
            "Give --wheel FILE, or name for each host in HOSTS.yaml the `python` that has hierfl.",
        )


def _read_constraints(file: Path | None) -> bytes:
    return b"" if file is None else _read("--constraints", file)


def _read(option: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(option, f"{file} cannot be read: {error.strerror}") from None
