"""hierfl as a wheel, for hosts without it."""

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
    """What pip installs on a host.

    Attributes:
        name: the wheel's file name.
        wheel: its bytes.
        constraints: a constraints file for its dependencies; empty: pip chooses.
        requirements: what the user's own code needs beside it.
    """

    name: str
    wheel: bytes
    constraints: bytes
    requirements: tuple[str, ...] = ()

    def fingerprint(self) -> str:
        """Return a hash of all of it."""
        parts = (self.wheel, self.constraints, *(text.encode() for text in self.requirements))
        return hashlib.sha256(b"".join(hashlib.sha256(p).digest() for p in parts)).hexdigest()


def package(
    wheel: Path | None, constraints: Path | None, requirements: tuple[str, ...] = ()
) -> Package:
    """Return the given wheel, or one built from the running sources with their constraints.

    The same sources give the same wheel.

    Args:
        wheel: a wheel of hierfl; None: one is built.
        constraints: a constraints file; None: that of the sources, if the wheel is theirs.
        requirements: what the user's own code needs, for pip.

    Raises:
        ConfigError: if a file cannot be read, or no wheel is given and there are no sources.
        RunFailed: if the wheel cannot be built.
    """
    if wheel is not None:
        return Package(
            wheel.name, _read("--wheel", wheel), _read_constraints(constraints), requirements
        )
    refuse_no_sources()
    with tempfile.TemporaryDirectory() as folder:
        build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, str(SOURCE)]
        done = subprocess.run([sys.executable, *build], capture_output=True, text=True)
        if done.returncode:
            raise RunFailed(f"building a wheel of {SOURCE} failed:\n{done.stderr[-1000:].strip()}")
        (built,) = Path(folder).glob("*.whl")
        own = SOURCE / "constraints.txt"
        if constraints is None and own.exists():
            constraints = own
        return Package(built.name, built.read_bytes(), _read_constraints(constraints), requirements)


def refuse_no_sources() -> None:
    """Raise an error if the sources for a wheel are missing."""
    if not (SOURCE / "pyproject.toml").exists():
        raise ConfigError(
            "--wheel",
            "hierfl is installed without its sources, so no wheel can be built",
            "Give --wheel FILE, or set `python` for each host in hosts.yaml.",
        )


def _read_constraints(file: Path | None) -> bytes:
    return b"" if file is None else _read("--constraints", file)


def _read(option: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(option, f"{file} cannot be read: {error.strerror}") from None
