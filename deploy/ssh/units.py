"""The systemd units: one for the cloud, and a template each for edges and devices."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.ssh.inventory import Host
from hierfl.config import Config
from hierfl.config.digest import digest

UNITS = "/etc/systemd/system"
ROLES = ("cloud", "edge", "device")


@dataclass(frozen=True)
class Unit:
    """The systemd unit of a node.

    Attributes:
        role: cloud, edge or device.
        node: its name in the topology.
    """

    role: str
    node: str

    @property
    def name(self) -> str:
        """The unit's name without a suffix."""
        return "hierfl-cloud" if self.role == "cloud" else f"hierfl-{self.role}@{self.node}"

    @property
    def service(self) -> str:
        """The unit's full name; the suffix is needed for a node that is called pi.mount."""
        return f"{self.name}.service"


def units_of(config: Config, host: Host) -> list[Unit]:
    """Return the units of a host's nodes: parents before children."""
    roles = config.roles()
    units = [Unit(roles[node], node) for node in host.nodes]
    return sorted(units, key=lambda unit: ROLES.index(unit.role))


def code_folder(host: Host) -> str:
    """Return the folder of the user's own code, in which nodes run: imports look there last."""
    return f"{host.paths.config}/code"


def unit_file(role: str) -> str:
    """Return the path of a role's unit."""
    return f"{UNITS}/hierfl-{role}{'' if role == 'cloud' else '@'}.service"


def run_folder(config: Config, host: Host) -> str:
    """Return the cloud's run folder; each configuration has its own."""
    return f"{host.paths.state}/runs/{config.name}-{digest(config).hex[:8]}"


def unit_text(role: str, config: Config, host: Host, python: str) -> str:
    """Return the unit file of a role on a host.

    A cloud whose run is done is not started again. A node with exit code 2 (wrong configuration) is
    not restarted, and exit code 130 means that it was stopped. Writable and executable memory is
    allowed because PyTorch compiles kernels, and all of /proc because it reads the processor's
    features there.
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
# Written by `hierfl deploy`, which overwrites changes.
[Unit]
Description=hierfl {what}
Wants=network-online.target
After=network-online.target time-sync.target
StartLimitIntervalSec=0
{condition}
[Service]
Type=exec
User={host.user}
WorkingDirectory={code_folder(host)}
Environment=PYTHONUNBUFFERED=1 HIERFL_DATA={paths.state}/data
ExecStart={python} -P -m hierfl {role} {topology} {place}
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=2
SuccessExitStatus=130
TimeoutStopSec=30
LimitNOFILE=65536
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
