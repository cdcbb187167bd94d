"""Enrolment: children say what they hold, and are told what all hold; some are refused."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import numpy as np
import pytest

from hierfl.errors import LinkError, ParentFailed, PayloadError, PeerRefused, RunFailed
from hierfl.link import link_pb2 as pb
from hierfl.link.enrol_client import EnrolClient
from hierfl.link.enrolment import METHOD, EnrolServer
from hierfl.link.frames import PROTOCOL
from hierfl.link.link_grid import LinkGrid
from hierfl.link.loop import LinkLoop
from hierfl.protocol.enrolment import Gathering, enrol, tell
from hierfl.protocol.facts import Facts, Moments, merge
from hierfl.tls.identity import Towards
from tests.link.nodes import Federation

LIMIT_S = 20.0
NAMES = ("pi-1", "pi-2", "pi-3")


def held(rows: int, *labels: str, columns: tuple[str, ...] = ("x", "y"), start: int = 0) -> Facts:
    values = np.arange(start, start + rows * len(columns), dtype=np.float64)
    moments = Moments.of(values.reshape(rows, -1))
    return Facts(rows, (len(columns),), "float32", columns, labels, inputs=moments)


FACTS = {
    "pi-1": held(4, "off", "on"),
    "pi-2": held(9, "on", start=50),
    "pi-3": held(2, "broken", start=7),
}


def client(address: str, name: str, **more: str) -> EnrolClient:
    return EnrolClient(address, name, patience=LIMIT_S, **more)  # type: ignore[arg-type]


@contextmanager
def parent(**more: str) -> Iterator[EnrolServer]:
    with (
        LinkLoop() as loop,
        EnrolServer("127.0.0.1:0", NAMES, loop=loop, **more) as server,  # type: ignore[arg-type]
    ):
        yield server


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


def start(pool: ThreadPoolExecutor, server: EnrolServer, **facts: Facts) -> list[Future[Facts]]:
    return [
        pool.submit(enrol, client(server.address, name.replace("_", "-")), one)
        for name, one in facts.items()
    ]


def test_all_are_told_what_they_hold_together(pool: ThreadPoolExecutor) -> None:
    with parent() as server:
        waiting = [pool.submit(enrol, client(server.address, n), FACTS[n]) for n in NAMES]
        heard = Gathering(server.enrolment, NAMES).facts(LIMIT_S, LIMIT_S)
        assert heard == FACTS
        assert not any(one.done() for one in waiting)
        whole = merge(heard)
        tell(server.enrolment, whole)
        assert [one.result(LIMIT_S) for one in waiting] == [whole] * 3
    assert whole.labels == ("broken", "off", "on") and whole.examples == 15


def test_who_only_asks_is_answered_at_once_and_is_not_counted(pool: ThreadPoolExecutor) -> None:
    with parent() as server:
        asking = client(server.address, "pi-1")
        assert asking.enrol(b"") == b""
        assert server.enrolment.said() == {}
        whole = merge(FACTS)
        tell(server.enrolment, whole)
        assert asking.enrol(b"") == whole.to_bytes()


def test_the_odd_one_out_is_named_and_may_come_again(pool: ThreadPoolExecutor) -> None:
    odd = held(3, columns=("x", "z"))
    with parent() as server:
        heard = pool.submit(Gathering(server.enrolment, NAMES).facts, LIMIT_S, LIMIT_S)
        (wrong,) = start(pool, server, pi_1=odd)  # the first to come, and yet the odd one
        others = start(pool, server, pi_2=FACTS["pi-2"], pi_3=FACTS["pi-3"])
        with pytest.raises(PeerRefused, match=r"pi-1 and pi-2 .* column 'y' is missing at pi-1"):
            wrong.result(LIMIT_S)
        (right,) = start(pool, server, pi_1=FACTS["pi-1"])
        assert heard.result(LIMIT_S) == FACTS
        tell(server.enrolment, merge(FACTS))
        for one in (*others, right):
            assert one.result(LIMIT_S).examples == 15


def test_a_quorum_is_enough_after_the_grace(pool: ThreadPoolExecutor) -> None:
    with parent() as server:
        start(pool, server, pi_1=FACTS["pi-1"], pi_3=FACTS["pi-3"])
        heard = Gathering(server.enrolment, NAMES, quorum=0.6).facts(LIMIT_S, 0.3)
        assert heard == {name: FACTS[name] for name in ("pi-1", "pi-3")}
        tell(server.enrolment, merge(heard))


def test_who_is_missing_is_named_when_the_time_is_over(pool: ThreadPoolExecutor) -> None:
    with pytest.raises(RunFailed, match="pi-1, pi-3 did not enrol"), parent() as server:  # noqa: PT012
        (waiting,) = start(pool, server, pi_2=FACTS["pi-2"])
        server.enrolment.wait(lambda said: len(said) == 1, LIMIT_S)
        Gathering(server.enrolment, NAMES).facts(0.2, 0.2)
    with pytest.raises(ParentFailed, match="pi-1, pi-3 did not enrol"):
        waiting.result(LIMIT_S)


def test_a_child_that_starts_again_is_counted_once(pool: ThreadPoolExecutor) -> None:
    with parent() as server:
        (first,) = start(pool, server, pi_1=held(1, "on"))
        server.enrolment.wait(lambda said: len(said) == 1, LIMIT_S)
        (again,) = start(pool, server, pi_1=FACTS["pi-1"])
        server.enrolment.wait(lambda said: said.get("pi-1") == FACTS["pi-1"].to_bytes(), LIMIT_S)
        tell(server.enrolment, FACTS["pi-1"])
        assert again.result(LIMIT_S) == first.result(LIMIT_S) == FACTS["pi-1"]


def test_a_child_that_is_gone_is_waited_for_again() -> None:
    request = pb.EnrolRequest(
        hello=pb.Hello(name="pi-1", protocol=PROTOCOL),
        facts=FACTS["pi-1"].to_bytes(),
    )
    with parent() as server, grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary(METHOD).future(request.SerializeToString())
        assert server.enrolment.wait(lambda said: len(said) == 1, LIMIT_S)
        call.cancel()
        assert server.enrolment.wait(lambda said: not said, LIMIT_S)


LATE = {
    "": FACTS["pi-2"],
    "holds samples of the class 'melted'": held(5, "melted", "on"),
    "column 'y' is missing at pi-2": held(5, "on", columns=("x", "z")),
    "column 'z' is missing at the others": held(5, "on", columns=("x", "y", "z")),
}


@pytest.mark.parametrize("reason", LATE)
def test_who_comes_late_is_told_by_the_open_link_if_it_fits(reason: str) -> None:
    whole = merge(FACTS)
    with parent() as server:
        tell(server.enrolment, whole)
    with LinkGrid("127.0.0.1:0", NAMES, enrolment=server.enrolment) as grid:
        late = client(grid.open(max_frame=1 << 16), "pi-2")
        if not reason:
            assert enrol(late, LATE[reason]) == whole
            return
        with pytest.raises(PeerRefused, match=reason):
            enrol(late, LATE[reason])


def test_tokens_that_nobody_had_are_refused() -> None:
    tokens = Facts(9, (4,), "int64", highest=31)
    with parent() as server:
        tell(server.enrolment, tokens)
        with pytest.raises(PeerRefused, match="the token 32; at the others 31"):
            enrol(client(server.address, "pi-1"), Facts(1, (4,), "int64", highest=32))


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("pi-9", {}, "no child of this node is called 'pi-9'"),
        ("pi-1", {"token": "b"}, "does not know the token"),
        ("pi-1", {"plan": "other", "token": "a"}, "another configuration"),
    ],
)
def test_strangers_are_refused(name: str, more: dict[str, str], words: str) -> None:
    token = "a" if more else ""
    with parent(token=token, plan="this") as server:
        with pytest.raises(PeerRefused, match=words):
            client(server.address, name, **more).enrol(FACTS["pi-1"].to_bytes())
        assert server.enrolment.said() == {}


def test_what_are_no_facts_is_turned_away(pool: ThreadPoolExecutor) -> None:
    with parent() as server:
        bad = pool.submit(client(server.address, "pi-1").enrol, b'{"examples": -1}')
        server.enrolment.wait(lambda said: len(said) == 1, LIMIT_S)
        with pytest.raises(RunFailed):
            Gathering(server.enrolment, NAMES).facts(0.2, 0.2)
        with pytest.raises(PeerRefused, match="malformed"):
            bad.result(LIMIT_S)


def test_a_parent_without_enrolment_is_no_place_to_enrol() -> None:
    with LinkGrid("127.0.0.1:0", NAMES) as grid:
        address = grid.open()
        with pytest.raises(PeerRefused, match=r"data\.partition"):
            client(address, "pi-1").enrol(b"")


def test_an_absent_parent_is_tried_until_patience_ends() -> None:
    with pytest.raises(LinkError, match=r"pi-1 has no parent at 127\.0\.0\.1:9"):
        EnrolClient("127.0.0.1:9", "pi-1", patience=0.5).enrol(b"")


def test_a_parent_that_answers_nonsense_is_reported() -> None:
    with parent() as server:
        server.enrolment.answer(b"[]", lambda name, said: "")
        with pytest.raises(PayloadError, match="malformed"):
            enrol(client(server.address, "pi-1"), FACTS["pi-1"])


def test_an_interrupted_parent_is_waited_for(pool: ThreadPoolExecutor) -> None:
    with LinkLoop() as loop:
        with pytest.raises(KeyboardInterrupt):  # noqa: SIM117, PT012
            with EnrolServer("127.0.0.1:0", NAMES, loop=loop) as server:
                (waiting,) = start(pool, server, pi_1=FACTS["pi-1"])
                server.enrolment.wait(lambda said: len(said) == 1, LIMIT_S)
                raise KeyboardInterrupt
        with EnrolServer(server.address, NAMES, loop=loop) as again:
            assert again.enrolment.wait(lambda said: len(said) == 1, LIMIT_S)
            tell(again.enrolment, FACTS["pi-1"])
            assert waiting.result(LIMIT_S) == FACTS["pi-1"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Federation:
    return Federation(tmp_path_factory.mktemp("home"))


class TestCertificates:
    """With certificates, a node enrols under its own name alone, at its own parent alone."""

    @staticmethod
    def enrolling(server: EnrolServer, name: str, towards: Towards | None) -> EnrolClient:
        return EnrolClient(server.address, name, patience=1.0, credentials=towards)

    def test_a_child_enrols(self, home: Federation) -> None:
        with (
            LinkLoop() as loop,
            EnrolServer("127.0.0.1:0", ["a"], loop=loop, credentials=home["cloud"]) as server,
        ):
            tell(server.enrolment, merge(FACTS))
            one = self.enrolling(server, "a", home["a"].towards("cloud"))
            assert enrol(one, FACTS["pi-1"]) == merge(FACTS)

    def test_anothers_certificate_enrols_nobody(self, home: Federation) -> None:
        with (
            LinkLoop() as loop,
            EnrolServer("127.0.0.1:0", ["a", "b"], loop=loop, credentials=home["cloud"]) as server,
        ):
            other = self.enrolling(server, "a", home["b"].towards("cloud"))
            with pytest.raises(PeerRefused, match="its certificate says 'b'"):
                other.enrol(FACTS["pi-1"].to_bytes())
            with pytest.raises(LinkError, match="has no parent"):  # it has no certificate
                self.enrolling(server, "a", None).enrol(FACTS["pi-1"].to_bytes())
            assert server.enrolment.said() == {}

    def test_only_the_parent_hears_what_a_child_holds(self, home: Federation) -> None:
        with (
            LinkLoop() as loop,
            EnrolServer("127.0.0.1:0", ["a"], loop=loop, credentials=home["b"]) as server,
        ):
            lost = self.enrolling(server, "a", home["a"].towards("cloud"))
            with pytest.raises(LinkError, match="does not trust"):
                lost.enrol(FACTS["pi-1"].to_bytes())
            assert server.enrolment.said() == {}
