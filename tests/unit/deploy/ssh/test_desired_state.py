"""What hosts need: units that systemd takes, certificates of their own nodes alone."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from deploy.ssh.desired_state import Needs, needs
from deploy.ssh.files import Entry, packed
from deploy.ssh.inventory import Host
from deploy.ssh.package import Package, package
from deploy.ssh.units import ROLES, Unit, unit_file, unit_text, units_of
from hierfl.cli import main
from hierfl.config import Cloud, Config, Edge, Security
from hierfl.errors import ConfigError
from hierfl.planning.plan import resolve
from hierfl.tls.authority import make_certificates

CONFIG = Config(
    cloud=Cloud(address="10.0.0.1:4700"),
    edges=(Edge(name="east", address="10.0.0.2:4701", devices=("pi-1", "pi.mount")),),
)
HUB = Host(name="hub", nodes=("cloud",))
SHELF = Host(name="shelf", nodes=("pi.mount", "pi-1", "east"))
LIMIT = 2.0
"""What systemd calls the exposure of a unit, from 0 to 10: this is well inside of "OK"."""

systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze"
)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """The federation, resolved and with certificates."""
    certs = tmp_path / "certs"
    make_certificates(CONFIG, certs)
    return resolve(CONFIG.model_copy(update={"security": Security(certs=certs)}))


def paths(needs: Needs) -> list[str]:
    return [entry.path for entry in needs.entries]


# -- units ----------------------------------------------------------------------------------------


@pytest.fixture
def units(config: Config, tmp_path: Path) -> list[Path]:
    """The units as files; their interpreter is one that is there."""
    files = []
    for role in ROLES:
        files.append(tmp_path / Path(unit_file(role)).name)
        files[-1].write_text(unit_text(role, config, HUB, sys.executable))
    return files


@systemd
def test_systemd_takes_the_units(units: list[Path]) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and not done.stderr, done.stderr


@systemd
def test_the_units_are_hardened(units: list[Path]) -> None:
    for unit in units:
        limit = ["--offline=true", f"--threshold={int(10 * LIMIT)}"]
        done = subprocess.run(
            ["systemd-analyze", "security", *limit, unit],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_parents_come_before_children() -> None:
    assert units_of(CONFIG, SHELF) == [
        Unit("edge", "east"), Unit("device", "pi.mount"), Unit("device", "pi-1"),
    ]  # fmt: skip


def test_a_node_s_name_is_no_suffix() -> None:
    assert Unit("device", "pi.mount").service == "hierfl-device@pi.mount.service"


# -- entries --------------------------------------------------------------------------------------


def test_a_host_has_its_own_nodes_keys_alone(config: Config) -> None:
    hub = needs(config, HUB)
    certs = [path for path in paths(hub) if "/certs/" in path]
    assert [Path(path).name for path in certs] == ["ca.crt", "cloud.crt", "cloud.key"]
    shelf = {entry.path: entry for entry in needs(config, SHELF).entries}
    assert not {"/etc/hierfl/certs/cloud.key", "/etc/hierfl/certs/ca.key"} & shelf.keys()
    for name in SHELF.nodes:
        key = shelf[f"/etc/hierfl/certs/{name}.key"]
        assert (key.mode, key.owner) == (0o600, "hierfl")
    assert b"certs: /etc/hierfl/certs" in (shelf["/etc/hierfl/topology.yaml"].content or b"")


def test_the_list_of_revoked_certificates_goes_to_parents_and_restarts_nothing(
    config: Config,
) -> None:
    before = needs(config, SHELF)
    assert config.security.certs is not None
    (config.security.certs / "revoked").write_text("pi-9\n")
    for host in (HUB, SHELF):
        entries = {entry.path: entry for entry in needs(config, host).entries}
        assert entries["/etc/hierfl/certs/revoked"].content == b"pi-9\n"
    after = needs(config, SHELF)
    assert all(
        before.fingerprint(unit, None) == after.fingerprint(unit, None) for unit in after.units
    )
    alone = SHELF.model_copy(update={"nodes": ("pi-1",)})
    assert "/etc/hierfl/certs/revoked" not in paths(needs(config, alone))
    other = config.security.certs / "others"
    other.write_text("pi-1\n")
    elsewhere = config.security.model_copy(update={"revoked": other})
    shelf = needs(config.model_copy(update={"security": elsewhere}), SHELF)
    entries = {entry.path: entry for entry in shelf.entries}
    assert entries["/etc/hierfl/certs/revoked"].content == b"pi-1\n"
    topology = entries["/etc/hierfl/topology.yaml"].content or b""
    assert b"revoked: /etc/hierfl/certs/revoked" in topology


def test_a_key_may_be_on_its_host_only(config: Config) -> None:
    assert config.security.certs is not None
    (config.security.certs / "cloud.key").unlink()
    hub = needs(config, HUB)
    assert hub.elsewhere == ["/etc/hierfl/certs/cloud.key"]
    assert "/etc/hierfl/certs/cloud.key" not in paths(hub)


def test_a_node_without_a_certificate_is_named(config: Config) -> None:
    assert config.security.certs is not None
    (config.security.certs / "pi-1.crt").unlink()
    with pytest.raises(ConfigError, match=r"pi-1\.crt does not exist"):
        needs(config, SHELF)


def test_only_the_units_that_differ_start_again(config: Config) -> None:
    before = needs(config, SHELF)
    other = Entry("/etc/hierfl/certs/pi-1.crt", 0o644, "root", b"another")
    entries = [other if entry.path == other.path else entry for entry in before.entries]
    after = Needs(SHELF, before.units, entries, [], before.python)
    assert [
        unit for unit in before.units
        if before.fingerprint(unit, None) != after.fingerprint(unit, None)
    ] == [Unit("device", "pi-1")]  # fmt: skip


def test_another_package_starts_all_units_again(config: Config) -> None:
    shelf = needs(config, SHELF)
    packages = [None, *(Package("h.whl", *content) for content in ((b"1", b""), (b"1", b"2")))]
    for unit in shelf.units:
        assert len({shelf.fingerprint(unit, package) for package in packages}) == 3


def test_an_archive_has_modes_and_owners() -> None:
    entries = [
        Entry("/etc/x", 0o755, "root", None), Entry("/etc/x/a.key", 0o600, "hierfl", b"secret"),
    ]  # fmt: skip
    with tarfile.open(fileobj=io.BytesIO(packed(entries))) as archive:
        folder, file = archive.getmembers()
        assert folder.isdir() and (folder.name, folder.mode) == ("etc/x", 0o755)
        assert (file.name, file.mode, file.uname) == ("etc/x/a.key", 0o600, "hierfl")
        content = archive.extractfile(file)
        assert content is not None and content.read() == b"secret"


# -- the command ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topology", "options", "says"),
    [
        ("edges: [{name: a, address: '10.0.0.2:1', devices: 1}]", [], "hierfl certs TOPOLOGY"),
        (
            "edges: [{name: a, devices: 1}]",
            [],
            "cloud.address: port 0 of 127.0.0.1:0 means any free port",
        ),
        (
            "edges: [{name: a, devices: 1}]",
            ["--apply", "--do", "stop"],
            "cannot be combined with --apply",
        ),
    ],
)
def test_errors_fit_on_a_screen(
    topology: str,
    options: list[str],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, hosts = tmp_path / "topology.yaml", tmp_path / "hosts.yaml"
    file.write_text(topology)
    hosts.write_text("hosts: [{name: hub, nodes: [cloud]}]")
    with pytest.raises(SystemExit) as end:
        main(["deploy", str(file), "--hosts", str(hosts), *options])
    said = capsys.readouterr().err
    assert end.value.code == 2 and says in said and len(said.splitlines()) < 10


def test_a_wheel_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--wheel: .*cannot be read"):
        package(tmp_path / "hierfl.whl", None)


@pytest.mark.slow
def test_the_same_sources_give_the_same_wheel() -> None:
    first = package(None, None)
    assert first == package(None, None)
    assert first.name.endswith(".whl") and b"grpcio" in first.constraints
