"""The systemd units: one for the cloud, a template each for edges and devices."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.ssh.inventory import Host
from hierfl.config import Config
from hierfl.config.digest import digest

UNITS = "/etc/systemd/system"
ROLES = ("cloud", "edge", "device")


@dataclass(frozen=True)
class Unit:
    """A node as systemd knows it.

    Attributes:
        role: cloud, edge or device.
        node: its name in the topology.
    """

    role: str
    node: str

    @property
    def name(self) -> str:
        """Its name for people."""
        return "hierfl-cloud" if self.role == "cloud" else f"hierfl-{self.role}@{self.node}"

    @property
    def service(self) -> str:
        """What systemctl is told: a node may be called pi.mount."""
        return f"{self.name}.service"


def units_of(config: Config, host: Host) -> list[Unit]:
    """Return the units of a host's nodes: parents before children."""
    roles = config.roles()
    units = [Unit(roles[node], node) for node in host.nodes]
    return sorted(units, key=lambda unit: ROLES.index(unit.role))


def unit_file(role: str) -> str:
    """Return the path of a role's unit."""
    return f"{UNITS}/hierfl-{role}{'' if role == 'cloud' else '@'}.service"


def run_folder(config: Config, host: Host) -> str:
    """Return where the cloud's run is: another configuration has another folder."""
    return f"{host.paths.state}/runs/{config.name}-{digest(config).hex[:8]}"


def unit_text(role: str, config: Config, host: Host, python: str) -> str:
    """Return a role's unit on a host.

    A cloud whose run is done is not started again. Exit code 2 is for what a person has to put
    right, 130 for a node that was stopped. Memory that is both written and executed stays allowed,
    as torch compiles kernels, and so does all of /proc, where it looks the processor up.
    """
    paths = host.paths
    topology, out = f"{paths.config}/topology.yaml", run_folder(config, host)
    if role == "cloud":
        what, place = "cloud", f"--out {out}"
        condition = f"ConditionPathExists=!{out}/summary.json\n"
    else:
        what, place = f"{role} %i", f"--name %i --state {paths.state}/nodes"
        condition = ""
    return f"""\
# Written by `hierfl deploy`, which will overwrite changes.
[Unit]
Description=hierfl {what}
Wants=network-online.target
After=network-online.target time-sync.target
StartLimitIntervalSec=0
{condition}
[Service]
Type=exec
User={host.user}
WorkingDirectory={paths.state}
Environment=PYTHONUNBUFFERED=1 HIERFL_DATA={host.data or f"{paths.state}/data"}
ExecStart={python} -m hierfl.cli {role} {topology} {place}
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=2
SuccessExitStatus=130
TimeoutStopSec=30
MemoryMax={host.memory}
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ReadWritePaths={paths.state}
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""
