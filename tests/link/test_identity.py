"""With certificates a parent admits its own children, and a child serves its own parent alone."""

from __future__ import annotations

import logging
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

import hierfl.link.client
from hierfl.errors import LinkError
from hierfl.link import frames
from hierfl.link import link_pb2 as pb
from hierfl.link.client import LinkClient
from hierfl.link.link_grid import LinkGrid
from hierfl.link.probe import ask
from hierfl.link.traffic import Faults
from hierfl.tls.identity import Identity
from hierfl.tls.revocation import RevocationList, serial_text
from tests.link.logs import On
from tests.link.nodes import Federation
from tests.link.raw import RawChild, Wire, hello
from tests.link.trees import LIMIT_S, Leaf, echo_app, say, text

HEARTBEAT_S = 1.0
"""Of these tests' parents: whoever dials and says nothing is turned away after so long."""

ANYONE = r"ipv4:127\.0\.0\.1:\d+"


@pytest.fixture(autouse=True)
def _dial_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hierfl.link.client, "FIRST_PAUSE_S", 0.01)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Federation]:
    """The same nodes' certificates, good ones and those that are no good at home."""
    place = tmp_path_factory.mktemp("certificates")
    home = Federation(place / "good", starts=-60, days=90)
    return {
        "good": home,
        "foreign": Federation(place / "foreign"),
        "expired": home.sibling(place / "expired", starts=-40, days=30),
        "early": home.sibling(place / "early", starts=5, days=30),
    }


@pytest.fixture
def home(kinds: dict[str, Federation]) -> Federation:
    return kinds["good"]


def parent(identity: Identity | None, *children: str, address: str = "127.0.0.1:0") -> LinkGrid:
    return LinkGrid(address, children, credentials=identity, heartbeat=HEARTBEAT_S)


def child(address: str, identity: Identity, of: str = "cloud") -> Leaf:
    name = identity.name
    towards = identity.towards(of)
    return Leaf(LinkClient(address, name, echo_app(name), credentials=towards), name)


@dataclass
class Cloud:
    """A parent whose children a and b are there, and what it says of others."""

    grid: LinkGrid
    address: str
    warnings: On
    warned: threading.Semaphore

    def has_refused(self, reason: str) -> None:
        """See that one peer, and nobody else, was turned away, and that nothing else happened."""
        assert self.warned.acquire(timeout=LIMIT_S), "nobody was turned away"
        (line,) = self.warnings.seen
        assert re.fullmatch(rf"turned away {ANYONE}: .*{reason}.*", line), line
        assert self.grid.faults() == Faults(rejected=1)
        self.goes_on()

    def has_not_noticed(self) -> None:
        """See that a peer whose handshake failed has changed nothing."""
        assert self.warnings.seen == [] and self.grid.faults() == Faults()
        self.goes_on()

    def goes_on(self) -> None:
        replies = self.grid.send_and_receive([say("x", n) for n in (1, 2)])
        assert [text(reply) for reply in replies] == ["a heard x", "b heard x"]
        assert self.grid.missing() == ["c"]
        assert self.grid.ledger.counts.keys() == {"a", "b"}


@pytest.fixture
def cloud(home: Federation) -> Iterator[Cloud]:
    warned = threading.Semaphore(0)
    with ExitStack() as leaves, parent(home["cloud"], "a", "b", "c") as grid:
        address = grid.open()
        for name in ("a", "b"):
            leaves.callback(child(address, home[name]).join)
        with grid._presence:
            assert grid._presence.wait_for(lambda: grid.missing() == ["c"], LIMIT_S)
        with On(
            logging.getLogger("hierfl.link.grpc_server"), "turned away", warned.release
        ) as seen:
            yield Cloud(grid, address, seen, warned)


def test_children_with_certificates_are_let_in(cloud: Cloud) -> None:
    replies = cloud.grid.send_and_receive([say("x", n) for n in (1, 2)])
    assert [text(reply) for reply in replies] == ["a heard x", "b heard x"]
    assert (cloud.grid.faults().rejected, cloud.warnings.seen) == (0, [])


def test_nobody_on_the_way_can_read_along(home: Federation) -> None:
    with parent(home["cloud"], "a") as grid, Wire(grid.open()) as wire:
        leaf = child(wire.address, home["a"])
        (reply,) = grid.send_and_receive([say("secret", 1)])
        assert text(reply) == "a heard secret"
        assert len(wire.heard) > 500 and b"heard" not in wire.heard
        grid.close()
        assert leaf.join() is None


@pytest.mark.parametrize(
    "address", ["127.0.0.1:0", "0.0.0.0:0", "localhost:0", "[::1]:0", "[::]:0"]
)
def test_children_are_recognised_at_any_address(home: Federation, address: str) -> None:
    """And who dials and says nothing is hung up on, while the child stays."""
    with parent(home["cloud"], "a", address=address) as grid:
        port = grid.open().rpartition(":")[2]
        host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(*[address.rpartition(":")[0]] * 2)
        leaf = child(f"{host}:{port}", home["a"])
        assert not grid.wait_for_children(LIMIT_S)
        with socket.create_connection((str(host).strip("[]"), int(port))) as silent:
            silent.settimeout(LIMIT_S)
            with suppress(ConnectionError):
                assert silent.recv(1)[:1] in (b"", b"\x15")  # nothing, or a TLS alert
        (reply,) = grid.send_and_receive([say("x", 1)])
        assert text(reply) == "a heard x" and grid.faults() == Faults()
        grid.close()
        assert leaf.join() is None


# -- who is refused after the handshake -----------------------------------------------------------


@pytest.mark.parametrize(
    ("certificate", "says", "reason"),
    [
        ("b", "a", "it says it is 'a', and its certificate says 'b'"),
        ("b", "c", "it says it is 'c', and its certificate says 'b'"),
        ("b-0", "b", "it says it is 'b', and its certificate says 'b-0'"),
        ("b-0", "b-0", "no child of this node is called 'b-0'"),
        ("b", "", "it says it is '', and its certificate says 'b'"),
    ],
)
def test_who_asks_for_another_place_is_refused(
    cloud: Cloud, home: Federation, certificate: str, says: str, reason: str
) -> None:
    towards = home[certificate].towards("cloud")
    with RawChild(cloud.address, hello(says), credentials=towards) as stranger:
        goodbye = stranger.dismissed()
    assert goodbye == pb.Goodbye(code=pb.Goodbye.REFUSED, reason=goodbye.reason)
    assert reason in goodbye.reason
    cloud.has_refused(re.escape(reason))


def test_a_name_has_one_connection(cloud: Cloud, home: Federation) -> None:
    with RawChild(cloud.address, hello("a"), credentials=home["a"].towards("cloud")) as second:
        assert second.dismissed().code == pb.Goodbye.BUSY
    assert cloud.warned.acquire(timeout=LIMIT_S)
    assert cloud.grid.get_node_ids() == [1, 2]
    (reply,) = cloud.grid.send_and_receive([say("x", 1)])
    assert (text(reply), cloud.grid.faults().reconnects) == ("a heard x", 0)


# -- who is refused by the handshake ---------------------------------------------------------------


def shake_hands(address: str, context: ssl.SSLContext) -> None:
    """Try a TLS handshake, and see that it fails."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port))) as end:
        end.settimeout(LIMIT_S)
        # In TLS 1.3 a client learns only after its own handshake that it was refused.
        with (
            suppress(ssl.SSLError, ConnectionError),
            context.wrap_socket(end, server_hostname="cloud") as secured,
        ):
            secured.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            assert not secured.recv(1024), "it was let in"


def context_of(kind: Federation | None, name: str, home: Federation) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(home.folder / "ca.crt"))
    if kind is not None:
        files = kind.folder / f"{name}.crt", kind.folder / f"{name}.key"
        context.load_cert_chain(*files)
    context.set_alpn_protocols(["h2"])
    return context


@pytest.mark.parametrize("kind", ["foreign", "expired", "early", "none"])
def test_a_certificate_that_is_no_good_is_refused(
    cloud: Cloud, kinds: dict[str, Federation], home: Federation, kind: str
) -> None:
    shake_hands(cloud.address, context_of(kinds.get(kind), "a", home))
    cloud.has_not_noticed()


def test_the_cloud_s_own_certificate_makes_no_child(cloud: Cloud, home: Federation) -> None:
    shake_hands(cloud.address, context_of(home, "cloud", home))
    cloud.has_not_noticed()


@pytest.mark.parametrize(
    "said",
    [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bytes(64), b"\x16\x03", b""],
)
def test_plain_text_is_refused(cloud: Cloud, said: bytes) -> None:
    host, _, port = cloud.address.rpartition(":")
    with socket.create_connection((host, int(port))) as end:
        end.sendall(said)
        end.settimeout(LIMIT_S)
        with suppress(ConnectionError):
            assert end.recv(1024)[:1] in (b"", b"\x15")  # nothing, or a TLS alert
    cloud.has_not_noticed()


def test_a_child_without_certificates_is_refused(cloud: Cloud) -> None:
    client = LinkClient(cloud.address, "c", echo_app("c"), patience=0)
    error = Leaf(client, "c").join()
    assert type(error) is LinkError and error.hint is not None
    assert f"c has no parent at {cloud.address}" in str(error)
    assert "security.certs" in error.hint
    cloud.has_not_noticed()


def test_what_was_recorded_is_refused(cloud: Cloud, home: Federation) -> None:
    """A whole session of c, word for word, from another connection."""
    with Wire(cloud.address) as wire:
        with RawChild(wire.address, hello("c"), credentials=home["c"].towards("cloud")) as honest:
            honest.welcomed()
            record = bytes(wire.heard)
            assert len(record) > 500
        with cloud.grid._presence:
            assert cloud.grid._presence.wait_for(cloud.grid.missing, LIMIT_S)
    assert cloud.warnings.seen == []
    host, _, port = cloud.address.rpartition(":")
    with socket.create_connection((host, int(port))) as end:
        end.sendall(record)
        end.settimeout(LIMIT_S)
        with suppress(ConnectionError):
            while end.recv(1024):
                pass
    assert cloud.grid.missing() == ["c"]
    cloud.goes_on()


# -- whom a child refuses --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        ("foreign", "cloud", "the node at this address has no certificate of this federation's CA"),
        ("expired", "cloud", "the certificate of cloud has expired"),
        ("early", "cloud", "the certificate of cloud is not valid yet: check the clocks"),
        ("good", "b", "the node at this address is not cloud"),
        ("good", "b-0", "the node at this address has no certificate of a parent"),
        (
            "plain",
            "cloud",
            "the node at this address does not use TLS: is security.certs set at cloud?",
        ),
    ],
)
def test_a_child_serves_its_own_parent_alone(
    kinds: dict[str, Federation], home: Federation, kind: str, name: str, says: str
) -> None:
    identity = None if kind == "plain" else kinds[kind][name]
    with parent(identity, "a") as grid:
        address = grid.open()
        error = child(address, home["a"]).join()
        assert grid.missing() == ["a"]
    assert type(error) is LinkError and error.hint is not None
    assert f"a does not trust {address}: {says}" in str(error)
    assert "hierfl certs" in error.hint


def test_a_false_parent_that_passes_does_not_end_a_child(
    kinds: dict[str, Federation], home: Federation
) -> None:
    """Once it has been let in, a child looks for its parent until its patience is over."""
    with parent(home["cloud"], "a") as grid, parent(kinds["foreign"]["cloud"], "a") as false:
        true, tried = grid.open(), threading.Event()
        with Wire(true) as wire:
            leaf = child(wire.address, home["a"])
            assert not grid.wait_for_children(LIMIT_S)
            grid.send_and_receive([say("the welcome has been read when this is", 1)])
            log = logging.getLogger("hierfl.link.client")
            with On(log, "no certificate of this federation's CA", tried.set):
                wire.target = false.open()
                wire.cut()
                assert tried.wait(LIMIT_S)
            wire.target = true
            (reply,) = grid.send_and_receive([say("x", 1)])
            assert text(reply) == "a heard x"
            assert (grid.faults().reconnects, false.missing()) == (1, ["a"])
            grid.close()
            assert leaf.join() is None


@pytest.mark.parametrize("by", ["name", "serial", "serial with colons"])
def test_who_is_revoked_is_refused_at_the_next_hello_without_a_restart(
    home: Federation, tmp_path: Path, by: str
) -> None:
    file = tmp_path / "revoked"
    serial = serial_text(x509.load_pem_x509_certificate(home["a"].certificate).serial_number)
    colons = ":".join(serial[i : i + 2] for i in range(0, len(serial), 2))
    entry = {"name": "a", "serial": serial, "serial with colons": colons.lower()}[by]
    grid = LinkGrid(
        "127.0.0.1:0",
        ["a", "b"],
        credentials=home["cloud"],
        heartbeat=HEARTBEAT_S,
        revoked=RevocationList(file, required=False),
    )
    with ExitStack() as leaves, grid:
        address = grid.open()
        for name in ("a", "b"):
            leaves.callback(child(address, home[name]).join)
        with grid._presence:
            assert grid._presence.wait_for(lambda: not grid.missing(), LIMIT_S)
        file.write_text(f"# stolen on Monday\n{entry}  # the Pi in the hall\n")
        hello_of = frames.hello("a", run="", model="", plan="")
        for name, code in (("a", pb.Goodbye.REFUSED), ("b", pb.Goodbye.BUSY)):
            said = ask(
                address,
                hello_of if name == "a" else frames.hello("b", run="", model="", plan=""),
                LIMIT_S,
                home[name].towards("cloud"),
            )
            assert said.code == code, said.reason
            assert ("revoked" in said.reason) == (name == "a")
        file.write_text("")
        said = ask(address, hello_of, LIMIT_S, home["a"].towards("cloud"))
        assert said.code == pb.Goodbye.BUSY, "it is attached, and good again"


def test_nobody_is_let_in_while_the_list_of_the_revoked_is_gone(
    home: Federation, tmp_path: Path
) -> None:
    grid = LinkGrid(
        "127.0.0.1:0",
        ["a"],
        credentials=home["cloud"],
        revoked=RevocationList(tmp_path / "revoked", required=True),
    )
    with grid:
        hello_of = frames.hello("a", run="", model="", plan="")
        said = ask(grid.open(), hello_of, LIMIT_S, home["a"].towards("cloud"))
        assert said.code == pb.Goodbye.BUSY and said.reason == (
            "this node cannot let anybody in now"
        )


def test_the_parent_says_whose_certificate_expires_soon(
    kinds: dict[str, Federation], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = kinds["good"]
    soon = home.sibling(tmp_path / "soon", starts=-10, days=15)
    with parent(home["cloud"], "a") as grid:
        hello_of = frames.hello("a", run="", model="", plan="")
        said = ask(grid.open(), hello_of, LIMIT_S, soon["a"].towards("cloud"))
        assert said.code == pb.Goodbye.UNSPECIFIED
    assert any("the certificate of a expires on" in line for line in caplog.messages)
