"""The current state of a host."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from deploy.ssh.desired_state import Needs
from deploy.ssh.files import FOLDER
from deploy.ssh.ssh import Remote
from hierfl.errors import RunFailed


@dataclass
class Found:
    """The state of a host.

    Attributes:
        user: whether the nodes' user exists.
        python: the version of hierfl in the host's own interpreter; None: not asked.
        package: the fingerprint of the package that is installed in the venv.
        entries: path -> hash of the content, mode and owner, for the desired entries.
        held: the files in the folders of certificates and of the user's own code.
        strays: unit files that should not exist.
        started: unit -> the fingerprint with which it was started.
    """

    user: bool = False
    python: str | None = None
    package: str = ""
    entries: dict[str, str] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    started: dict[str, str] = field(default_factory=dict)


def survey(remote: Remote, needs: Needs) -> Found:
    """Return the state of a host, without changing it.

    Raises:
        RunFailed: if it cannot be reached, or `python` of hosts.yaml has no hierfl.
    """
    found = Found()
    for line in remote.root(_script(needs)).splitlines():
        kind, _, rest = line.partition(" ")
        first, _, last = rest.rpartition(" ")
        match kind:
            case "user":
                found.user = True
            case "python":
                found.python = rest
            case "package":
                found.package = rest
            case "entry":
                found.entries[last] = first
            case "held":
                found.held.append(rest)
            case "stray":
                found.strays.append(rest)
            case "started":
                found.started[last] = first
    if needs.host.python is not None and found.python is None:
        raise RunFailed(
            f"{needs.host.python} has no hierfl",
            f"It is this host's `python` in hosts.yaml. Without that key, a venv is created in "
            f"{needs.host.paths.venv}.",
        )
    return found


def stamp(needs: Needs) -> str:
    """Return the file with the fingerprint of the installed package."""
    return f"{needs.host.paths.venv}/installed"


def _script(needs: Needs) -> str:
    host, asked = needs.host, "import hierfl; print('python', hierfl.__version__)"
    python = "" if host.python is None else f"{host.python} -c {shlex.quote(asked)} || true"
    return f"""
cd /
id -u {host.user} >/dev/null 2>&1 && echo user
{python}
if [ -f {stamp(needs)} ]; then echo package $(cat {stamp(needs)}); fi
for path in {" ".join(entry.path for entry in needs.entries)}; do
  if [ -f $path ]; then hash=$(sha256sum < $path); hash=${{hash%% *}}
  elif [ -d $path ]; then hash={FOLDER}
  else continue
  fi
  echo entry $hash $(stat -c '%a %U' $path) $path
done
find {needs.certs} {needs.code} -type f -printf 'held %p\\n' 2>/dev/null || true
for path in {" ".join(needs.strays())}; do if [ -f $path ]; then echo stray $path; fi; done
for path in {needs.started}/*; do
  if [ -f $path ]; then echo started $(cat $path) ${{path##*/}}; fi
done
"""
