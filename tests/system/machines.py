"""Machines on this machine: network namespaces, each with a systemd and an sshd of its own.

Each machine has its own network, processes, users and files: what it writes over this machine's
files stays in memory. A bridge joins them and the lab, from which a test works. Nothing is left
of it all when it is closed; what a killed test left is removed by the next.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from tests.system.harness import ENVIRONMENT, LIMIT_S, command

ROOT = Path(__file__).parents[2]
BOOT = Path(__file__).with_name("boot_host.sh")
SSHD = "/usr/sbin/sshd"
PATIENCE_S = 600
"""Seconds that a command in the lab may take: three machines share this one."""

NET = "10.213.77"
PORT = 2222

PYTHON = "/opt/image/python"
"""An interpreter on each machine that has hierfl, as an image that is ready has one."""

SSHD_CONFIG = f"""
Port {PORT}
HostKey /etc/lab/host_key
AuthorizedKeysFile /etc/lab/authorized_keys
PidFile none
UsePAM no
StrictModes no
"""
SSHD_UNIT = f"""
[Service]
ExecStart={SSHD} -D -e -f /etc/lab/sshd_config
KillMode=process
[Install]
WantedBy=multi-user.target
"""
INTERPRETER = f"/srv/python/bin/{Path(sys.executable).resolve().name}"
IMAGE = f"""#!/bin/sh
PYTHONPATH=/srv/hierfl:/srv/packages exec {INTERPRETER} "$@"
"""
VENV = f"""#!/bin/sh
set -e
{INTERPRETER} "$@" --without-pip
for folder in "$3"/lib/python*/site-packages; do echo /srv/packages > "$folder/lab.pth"; done
"""
"""`python3 -m venv DIR`, in which the packages of this machine, its pip too, are seen."""


def why_not() -> str | None:
    """Return why there can be no machines here; None if there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs Linux and root, for namespaces"
    for program in (SSHD, "/lib/systemd/systemd", "ssh", "ssh-keygen", "ip", "unshare"):
        if shutil.which(program) is None:
            return f"there is no {program}"
    probe = ["unshare", "-m", "-p", "-f", "-i", "-u", "-C", "true"]
    if subprocess.run(probe, capture_output=True).returncode or not os.access(_cgroups(), os.W_OK):
        return "namespaces or control groups cannot be made"
    return None


class Lab(ExitStack):
    """A bridge, and machines at it.

    Args:
        folder: for keys and configurations.
        names: of the machines; the first has the address NET.1, and so on.
    """

    def __init__(self, folder: Path, names: list[str]) -> None:
        super().__init__()
        self.folder = folder
        _sweep()
        self._netns = f"hfl{os.getpid()}-lab"
        try:
            self._build(names)
        except BaseException:
            self.close()
            raise

    def _build(self, names: list[str]) -> None:
        self._add_netns(self._netns)
        _ip("-n", self._netns, "link", "add", "lab", "type", "bridge")
        _ip("-n", self._netns, "address", "add", f"{NET}.254/24", "dev", "lab")
        _ip("-n", self._netns, "link", "set", "lab", "up")
        self.key = self.folder / "id"
        _make_key(self.key)
        self.machines = {
            name: self._machine(name, f"{NET}.{number}") for number, name in enumerate(names, 1)
        }
        known = (f"[{one.address}]:{PORT} {one.host_key}" for one in self.machines.values())
        (self.folder / "known_hosts").write_text("".join(known))
        self.ssh_config = self.folder / "ssh_config"
        self.ssh_config.write_text(f"Host *\n  UserKnownHostsFile {self.folder / 'known_hosts'}\n")
        for machine in self.machines.values():
            machine.wait("systemctl", "is-active", "--quiet", "lab-sshd")

    def hierfl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run hierfl in the lab."""
        return subprocess.run(
            ["ip", "netns", "exec", self._netns, *command(*arguments)],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
        )

    def _machine(self, name: str, address: str) -> Machine:
        netns, near = f"hfl{os.getpid()}-{name}", f"to-{name}"
        self._add_netns(netns)
        _ip("-n", self._netns, "link", "add", near, "type", "veth", "peer", "eth0", "netns", netns)
        _ip("-n", self._netns, "link", "set", near, "master", "lab", "up")
        _ip("-n", netns, "address", "add", f"{address}/24", "dev", "eth0")
        for link in ("lo", "eth0"):
            _ip("-n", netns, "link", "set", link, "up")
        folder = self.folder / name
        folder.mkdir()
        machine = Machine(name, address, netns, folder, self.key.with_suffix(".pub").read_text())
        self.callback(machine.end)
        return machine

    def _add_netns(self, name: str) -> None:
        _ip("netns", "add", name)
        self.callback(_ip, "netns", "delete", name)


class Machine:
    """One machine, which has been switched on.

    Attributes:
        name: its name.
        address: its address.
        host_key: what its sshd shows.
        root: its root folder, as seen from here.
    """

    def __init__(self, name: str, address: str, netns: str, folder: Path, admitted: str) -> None:
        self.name, self.address = name, address
        seed, mount = folder / "seed", folder / "mount"
        mount.mkdir()
        self._seed(seed, admitted)
        self.host_key = (seed / "etc/lab/host_key.pub").read_text()
        self._cgroup = _cgroups() / netns
        self._cgroup.mkdir()
        seen = [
            f"{sys.base_prefix}:/srv/python", f"{sysconfig.get_path('purelib')}:/srv/packages",
            f"{ROOT}:/srv/hierfl",
        ]  # fmt: skip
        namespaces = ["unshare", "-m", "-p", "-f", "-i", "-u", "-C", "--kill-child"]
        boot = [*namespaces, str(BOOT), str(mount), str(seed), name, *seen]
        # Into its control group first, so that this is the root of the new ones.
        enter = f'set -e; echo 0 > "{self._cgroup}/cgroup.procs"; exec "$@"'
        self._log = (folder / "boot.log").open("wb")
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "sh", "-c", enter, "sh",
             "ip", "netns", "exec", netns, *boot],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
        )  # fmt: skip

    @staticmethod
    def _seed(seed: Path, admitted: str) -> None:
        lab, units = seed / "etc/lab", seed / "etc/systemd/system"
        for folder in (lab, units / "multi-user.target.wants"):
            folder.mkdir(parents=True)
        _make_key(lab / "host_key")
        (lab / "authorized_keys").write_text(admitted)
        (lab / "sshd_config").write_text(SSHD_CONFIG)
        (units / "lab-sshd.service").write_text(SSHD_UNIT)
        (units / "multi-user.target.wants/lab-sshd.service").symlink_to("../lab-sshd.service")
        _write_program(seed / PYTHON.lstrip("/"), IMAGE)
        _write_program(seed / "usr/local/bin/python3", VENV)

    @property
    def pid(self) -> int:
        """Its systemd's process, as seen from here."""
        parent = self._process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return int(children[0])

    @property
    def root(self) -> Path:
        """Its root folder, as seen from here."""
        return Path(f"/proc/{self.pid}/root")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command there as root."""
        return subprocess.run(
            ["nsenter", "--target", str(self.pid), "--all", *arguments],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )

    def wait(self, *arguments: str) -> None:
        """Wait until a command there succeeds."""
        until = time.monotonic() + PATIENCE_S
        done = None
        while time.monotonic() < until:
            with suppress(OSError, IndexError):
                done = self.run(*arguments)
                if done.returncode == 0:
                    return
            time.sleep(0.2)
        raise AssertionError(f"{self.name}: {arguments} does not succeed: {done}\n{self._boot()}")

    def show(self, unit: str, what: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", "--value", "--property", what, unit).stdout.strip()

    def add_user(self, name: str) -> None:
        """Make a user who may log in and use sudo."""
        self.run("useradd", "--create-home", "--shell", "/bin/sh", "--password", "*", name)
        file = self.root / f"etc/sudoers.d/{name}"
        file.write_text(f"{name} ALL=(ALL) NOPASSWD: ALL\n")
        file.chmod(0o440)

    def _boot(self) -> str:
        return Path(self._log.name).read_text()

    def end(self) -> None:
        """Switch it off at once."""
        self._process.kill()
        self._process.wait(LIMIT_S)
        self._log.close()
        _remove_cgroups(self._cgroup)


def _sweep() -> None:
    """Remove what is left of a lab whose process was killed; its machines ended with it."""
    for place in (Path("/run/netns"), _cgroups()):
        for left in place.glob("hfl*-*"):
            pid = left.name[3:].partition("-")[0]
            if not Path("/proc", pid).exists():
                if place.name == "netns":
                    _ip("netns", "delete", left.name)
                else:
                    _remove_cgroups(left)


def _remove_cgroups(top: Path) -> None:
    """Remove a control group and all in it, as soon as the last of the processes is gone."""
    until = time.monotonic() + LIMIT_S
    for folder, _, _ in os.walk(top, topdown=False):
        _remove_cgroup(Path(folder), until)


def _remove_cgroup(folder: Path, until: float) -> None:
    while True:
        try:
            return folder.rmdir()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def _cgroups() -> Path:
    """Return where version 2 of control groups is mounted."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    return Path("/nowhere")


def _write_program(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


def _make_key(file: Path) -> None:
    arguments = ["-q", "-t", "ed25519", "-N", "", "-C", file.name, "-f", str(file)]
    subprocess.run(["ssh-keygen", *arguments], check=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
