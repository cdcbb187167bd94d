"""The certificates that are made, and those that a node takes for its own."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hierfl.cli import main
from hierfl.config import Cloud, Config, Edge
from hierfl.errors import ConfigError, HierflError, render
from hierfl.tls.authority import CA_DAYS, DAYS, make_certificates
from hierfl.tls.identity import Identity
from hierfl.tls.revocation import RevocationList

NOW = datetime(2030, 5, 17, 12, 0, 0, tzinfo=UTC)
CONFIG = Config(
    cloud=Cloud(address="cloud.example.org:9400"),
    edges=(
        Edge(name="east", address="192.0.2.7:9401", devices=("pi_1", "pi.2")),
        Edge(name="west", address="[2001:db8::5]:9401", devices=("west-0",)),
    ),
)
NODES = ["cloud", "east", "pi_1", "pi.2", "west", "west-0"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_certificates(CONFIG, tmp_path / "certs", now=NOW)
    return tmp_path / "certs"


def load(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_made(tmp_path: Path) -> None:
    made = make_certificates(CONFIG, tmp_path / "a" / "b", now=NOW)
    assert [one.name for one in made] == ["ca", *NODES]
    assert all(one.new for one in made)
    assert made[0].until == NOW + timedelta(days=CA_DAYS)
    assert {one.until for one in made[1:]} == {NOW + timedelta(days=DAYS)}
    files = {f"{name}.{kind}" for name in ["ca", *NODES] for kind in ("crt", "key")}
    files |= {f"{name}.{kind}" for name in NODES if name != "cloud" for kind in ("ssh", "pub")}
    assert set(contents(tmp_path / "a" / "b")) == files


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)  # whatever the user's is
    try:
        make_certificates(CONFIG, tmp_path / "certs")
    finally:
        os.umask(before)
    modes = {p: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "certs").iterdir()}
    secret = {".key", ".ssh"}
    assert {mode for path, mode in modes.items() if path.suffix in secret} == {0o600}
    assert {mode for path, mode in modes.items() if path.suffix not in secret} == {0o644}
    assert stat.S_IMODE((tmp_path / "certs").stat().st_mode) == 0o700


def test_a_supernode_has_the_same_key(folder: Path) -> None:
    """In the format that Flower takes, on a curve that it accepts."""
    for name in NODES[1:]:
        private = load_ssh_private_key((folder / f"{name}.ssh").read_bytes(), None)
        public = load_ssh_public_key((folder / f"{name}.pub").read_bytes())
        assert private.public_key() == public == load(folder, name).public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        assert isinstance(public.curve, ec.SECP256R1)


@pytest.mark.parametrize("name", NODES)
def test_what_a_certificate_says(folder: Path, name: str) -> None:
    certificate = load(folder, name)
    assert certificate.subject == x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    assert certificate.not_valid_before_utc == NOW - timedelta(minutes=5)
    assert certificate.not_valid_after_utc == NOW + timedelta(days=DAYS)
    extensions = certificate.extensions
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    parent, child = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
    roles = {"cloud": [parent], "east": [parent, child], "west": [parent, child]}
    uses = extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert list(uses.value) == roles.get(name, [child]) and uses.critical
    hosts: dict[str, list[x509.GeneralName]] = {
        "cloud": [x509.DNSName("cloud.example.org")],
        "east": [x509.IPAddress(ip_address("192.0.2.7"))],
        "west": [x509.IPAddress(ip_address("2001:db8::5"))],
    }
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.DNSName(name), *hosts.get(name, [])]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_another_implementation_agrees(tmp_path: Path) -> None:
    make_certificates(CONFIG, tmp_path)
    for name in NODES:
        for purpose, parent in (("sslserver", True), ("sslclient", False)):
            command = ["openssl", "verify", "-x509_strict", "-purpose", purpose,
                       "-CAfile", "ca.crt", f"{name}.crt"]  # fmt: skip
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
            may = name in ("cloud", "east", "west") if parent else name != "cloud"
            assert (done.returncode == 0) == may, (name, purpose, done.stderr)


def test_made_again_nothing_changes(folder: Path) -> None:
    before = contents(folder)
    made = make_certificates(CONFIG, folder, days=7, now=NOW + timedelta(days=10))
    assert not any(one.new for one in made)
    assert {one.until for one in made[1:]} == {NOW + timedelta(days=DAYS)}
    assert contents(folder) == before


def test_what_is_missing_is_made(folder: Path) -> None:
    before = contents(folder)
    more = CONFIG.model_copy(
        update={"edges": (*CONFIG.edges, Edge(name="north", devices=("north-0",)))}
    )
    made = make_certificates(more, folder, now=NOW)
    assert [one.name for one in made if one.new] == ["north", "north-0"]
    assert {name: contents(folder)[name] for name in before} == before
    Identity.read(folder, "north-0", NOW)


def test_renewed_certificates_are_for_the_same_keys(folder: Path) -> None:
    """Also where a key is no longer there: it has been copied to its node and removed."""
    before, keys = contents(folder), {n: load(folder, n).public_key() for n in NODES}
    own = (folder / "east.key").read_bytes()
    (folder / "east.key").unlink()
    later = NOW + timedelta(days=300)
    made = make_certificates(CONFIG, folder, renew=True, days=90, now=later)
    assert [one.name for one in made if one.new] == NODES
    after = contents(folder)
    for name in NODES:
        assert load(folder, name).public_key() == keys[name]
        assert load(folder, name).not_valid_after_utc == later + timedelta(days=90)
        assert after[f"{name}.crt"] != before[f"{name}.crt"]
    assert {n for n in before if before[n] == after.get(n)} == {
        "ca.crt", "ca.key", *(f"{name}.key" for name in NODES if name != "east"),
        *(f"{name}.{kind}" for name in NODES if name != "cloud" for kind in ("ssh", "pub")),
    }  # fmt: skip
    (folder / "east.key").write_bytes(own)
    assert Identity.read(folder, "east", later).key == own


def test_a_certificate_does_not_outlive_its_ca(folder: Path) -> None:
    before, late = contents(folder), NOW + timedelta(days=CA_DAYS - DAYS + 1)
    with pytest.raises(ConfigError, match=r"--days: .* would be valid longer than .*ca\.crt"):
        make_certificates(CONFIG, folder, renew=True, now=late)
    assert contents(folder) == before
    make_certificates(CONFIG, folder, renew=True, days=DAYS - 1, now=late)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ca", "the name 'ca' cannot be distinguished from 'ca'"),
        ("CA.", "the name 'CA.' cannot be distinguished from 'ca'"),
        ("East", "the name 'East' cannot be distinguished from 'east'"),
        ("east.", "the name 'east.' cannot be distinguished from 'east'"),
        ("Cloud", "the name 'Cloud' cannot be distinguished from 'cloud'"),
        ("10.0.0.1", "the name '10.0.0.1' cannot be distinguished from 'an address'"),
    ],
)
def test_a_name_that_would_pass_for_another(tmp_path: Path, name: str, says: str) -> None:
    config = Config(edges=(Edge(name="east", devices=("a",)), Edge(name="west", devices=(name,))))
    with pytest.raises(ConfigError, match=re.escape(says)):
        make_certificates(config, tmp_path / "certs")
    assert not (tmp_path / "certs").exists()


def test_numbers_are_names(tmp_path: Path) -> None:
    config = Config(edges=(Edge(name="1", devices=("2", "v1.2", "x" * 63)),))
    make_certificates(config, tmp_path, now=NOW)
    for device in config.edges[0].devices:
        Identity.read(tmp_path, device, NOW)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / "ca.key").unlink(), "ca.key is missing"),
        (lambda f: shutil.copy(f / "east.key", f / "ca.key"), "ca.key does not belong to"),
        (lambda f: (f / "ca.key").write_text("?"), "ca.key holds no private key"),
        (lambda f: (f / "ca.crt").write_text("?"), "ca.crt holds no certificate"),
        (lambda f: (f / "east.crt").write_text("?"), "east.crt holds no certificate"),
        (
            lambda f: [(f / n).unlink() for n in ("ca.crt", "ca.key")],
            "cloud.crt was not issued by the CA",
        ),
    ],
)
def test_a_spoilt_folder(folder: Path, spoil, says: str) -> None:  # type: ignore[no-untyped-def]
    (folder / "west-0.crt").unlink()
    spoil(folder)
    with pytest.raises(ConfigError, match=says) as caught:
        make_certificates(CONFIG, folder, now=NOW)
    assert caught.value.path == "--out"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--out: .*file"):
        make_certificates(CONFIG, tmp_path / "file" / "certs")


# -- what a node takes for its own -----------------------------------------------------------------


@pytest.mark.parametrize("name", NODES)
def test_a_node_reads_its_own(folder: Path, name: str) -> None:
    files = contents(folder)
    read = Identity.read(folder, name, NOW)
    assert read == Identity(name, files["ca.crt"], files[f"{name}.crt"], files[f"{name}.key"])


DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("spoil", "when", "says", "hint"),
    [
        (lambda f: (f / "ca.crt").unlink(), NOW, "{}/ca.crt does not exist", "hierfl certs"),
        (lambda f: (f / "east.crt").unlink(), NOW, "{}/east.crt does not exist", "hierfl certs"),
        (lambda f: (f / "east.key").unlink(), NOW, "{}/east.key does not exist", "hierfl certs"),
        (shutil.rmtree, NOW, "{}/ca.crt does not exist", "hierfl certs"),
        (lambda f: (f / "ca.crt").write_text(""), NOW, "{}/ca.crt holds no cert", "same DIR"),
        (lambda f: (f / "east.crt").write_text("x"), NOW, "{}/east.crt holds no", "same DIR"),
        (lambda f: (f / "east.key").write_text("x"), NOW, "{}/east.key holds no", "same DIR"),
        (lambda f: shutil.copy(f / "west.key", f / "east.key"), NOW,
         "{}/east.key does not belong to {}/east.crt", "same DIR"),
        (lambda f: [shutil.copy(f / f"west.{k}", f / f"east.{k}") for k in ("crt", "key")], NOW,
         "{}/east.crt is the certificate of 'west'", "same DIR"),
        (lambda f: make_certificates(CONFIG, f.parent / "b", now=NOW)
         and shutil.copy(f.parent / "b" / "ca.crt", f), NOW,
         "{}/east.crt was not issued by the CA in {}/ca.crt", "same DIR"),
        (lambda f: None, NOW + (DAYS + 1) * DAY, "{}/east.crt expired on 2031-05-17",
         "hierfl certs TOPOLOGY --out DIR` --renew"),
        (lambda f: None, NOW - DAY, "{}/east.crt is not valid before 2030-05-17 11:55 UTC",
         "clock. It says 2030-05-16 12:00 UTC"),
    ],
)  # fmt: skip
def test_files_that_cannot_serve(folder: Path, spoil, when, says, hint) -> None:  # type: ignore[no-untyped-def]
    spoil(folder)
    with pytest.raises(HierflError) as caught:
        Identity.read(folder, "east", when)
    assert says.format(folder, folder) in render(caught.value)
    assert hint in str(caught.value.hint)
    assert "security.certs" in render(caught.value)
    there = (folder / "ca.crt").exists()  # if not, the folder may not be mounted yet
    assert caught.value.exit_code == (2 if there else 1)


# -- the command -----------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return end.value.code or 0, *capsys.readouterr()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    topology, out = tmp_path / "t.yaml", tmp_path / "certs"
    topology.write_text("edges: [{name: east, address: 'h:1', devices: 1}]\n")
    code, said, errors = run(capsys, "certs", topology, "--out", out, "--days", 30)
    until = (datetime.now(UTC) + timedelta(days=30)).strftime("%Y-%m-%d")
    assert (code, errors) == (0, "")
    assert f"east    created, valid until {until}" in said.splitlines()
    assert "ca.crt, NAME.crt and NAME.key" in said
    code, said, _ = run(capsys, "certs", topology, "--out", out)
    assert f"east-0  kept, valid until {until}" in said.splitlines()
    code, said, _ = run(capsys, "certs", topology, "--out", out, "--renew", "--days", 1)
    assert "ca      kept, " in said and "east-0  created, " in said
    assert run(capsys, "certs", topology, "--out", out, "--days", 0)[0] == 2
    assert run(capsys, "certs", topology)[0] == 2


def test_the_command_says_what_has_expired(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topology, out = tmp_path / "t.yaml", tmp_path / "certs"
    topology.write_text("edges: [{name: east, devices: 1}]\n")
    from hierfl.config import load_config

    old = datetime.now(UTC) - timedelta(days=DAYS + 1)
    make_certificates(load_config(topology), out, now=old)
    _, said, _ = run(capsys, "certs", topology, "--out", out)
    assert "east    kept, expired on " in said and "--renew" in said


def test_a_new_key_for_one_node_revokes_its_old_certificate(folder: Path) -> None:
    before, old = contents(folder), load(folder, "pi_1")
    make_certificates(CONFIG, folder, rekey=["pi_1"], now=NOW)
    after, new = contents(folder), load(folder, "pi_1")
    assert {name for name in before if before[name] != after[name]} == {
        f"pi_1.{kind}" for kind in ("crt", "key", "ssh", "pub")
    }
    assert new.public_key() != old.public_key()
    assert Identity.read(folder, "pi_1", NOW + timedelta(days=1)).name == "pi_1"
    revoked = RevocationList(folder / "revoked", required=True)
    assert revoked.holds("pi_1", old.serial_number)
    assert not revoked.holds("pi_1", new.serial_number)
    assert not revoked.holds("pi.2", load(folder, "pi.2").serial_number)


def test_a_new_key_needs_a_node_and_the_ca_s_key(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no node mallory"):
        make_certificates(CONFIG, folder, rekey=["mallory"], now=NOW)
    (folder / "ca.key").unlink()
    before = contents(folder)
    with pytest.raises(ConfigError, match=r"ca\.key is missing"):
        make_certificates(CONFIG, folder, rekey=["pi_1"], now=NOW)
    assert contents(folder) == before, "the old key is all that there is"
