"""What a parent would say to a hello; asking leaves no trace."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from hierfl.errors import LinkError
from hierfl.link import frames, probe
from hierfl.link import link_pb2 as pb
from hierfl.link.bind import bind, serve
from hierfl.link.link_grid import LinkGrid
from tests.link.nodes import Federation
from tests.link.raw import RawChild, hello
from tests.link.trees import LIMIT_S

REFUSED = pb.Goodbye.REFUSED


@pytest.mark.parametrize(
    ("first", "code", "reason"),
    [
        (hello("a", plan="plan"), pb.Goodbye.UNSPECIFIED, ""),
        (hello("b"), pb.Goodbye.BUSY, "b is attached already"),
        (hello("c"), REFUSED, "no child of this node is called 'c'"),
        (hello("a", plan="other"), REFUSED, "a has another configuration"),
        (hello("a", protocol=99), REFUSED, "'a' speaks version 99"),
        (frames.message(b"x"), REFUSED, "the first frame is no hello"),
        (b"\xff", REFUSED, "it sent 1 bytes that are no frame"),
    ],
)
def test_the_answer_is_that_to_a_hello_and_leaves_no_trace(
    first: bytes, code: pb.Goodbye.Code, reason: str
) -> None:
    seen: list[tuple[str, bool]] = []
    with LinkGrid(
        "127.0.0.1:0", ["a", "b"], plan="plan", on_presence=lambda *news: seen.append(news)
    ) as grid:
        address = grid.open(model="model")
        with RawChild(address, hello("b")) as child:
            child.welcomed()
            verdict = probe.ask(address, first, LIMIT_S)
            assert grid.missing() == ["a"]
    assert verdict.code == code
    assert verdict.reason.startswith(reason)
    assert (grid.faults().rejected, grid.faults().restarts, grid.faults().reconnects) == (0, 0, 0)
    assert ("a", True) not in seen


@pytest.mark.parametrize("amiss", [0.0, -400.0, 3600.0])
def test_the_difference_between_the_clocks(monkeypatch: pytest.MonkeyPatch, amiss: float) -> None:
    true = probe.time.time
    with LinkGrid("127.0.0.1:0", ["a"]) as grid:
        address = grid.open()

        def clock() -> float:
            parents = threading.current_thread().name == "link"
            return true() + (amiss if parents else 0.0)

        monkeypatch.setattr(probe.time, "time", clock)
        verdict = probe.ask(address, hello("a"), LIMIT_S)
    assert abs(verdict.ahead - amiss) <= verdict.unsure + 0.01
    assert verdict.unsure < LIMIT_S


def test_with_certificates_it_is_asked_by_name_and_not_counted(tmp_path: Path) -> None:
    home = Federation(tmp_path / "home")
    with LinkGrid("127.0.0.1:0", ["a", "b"], credentials=home["cloud"], heartbeat=1.0) as grid:
        address = grid.open()
        towards = home["a"].towards("cloud")
        assert probe.ask(address, hello("a"), LIMIT_S, towards).code == pb.Goodbye.UNSPECIFIED
        lie = probe.ask(address, hello("b"), LIMIT_S, towards)
        assert (lie.code, lie.reason) == (
            REFUSED, "it says it is 'b', and its certificate says 'a'",
        )  # fmt: skip
        assert grid.faults().rejected == 0


def test_nobody_and_somebody_else(tmp_path: Path) -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    serve(server, "/another.Service/Call", grpc.unary_unary_rpc_method_handler(lambda *_: b""))
    address = bind(server, "127.0.0.1:0", None)
    server.start()
    try:
        with pytest.raises(LinkError, match="no parent of this version"):
            probe.ask(address, hello("a"), LIMIT_S)
    finally:
        server.stop(None).wait()
    with pytest.raises(LinkError, match="refused"):
        probe.ask(address, hello("a"), LIMIT_S)
