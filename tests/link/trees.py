"""A parent and its children on each transport, and children that can be made slow."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast
from unittest.mock import patch

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

import deploy.flower.polling.grid as polling
from hierfl.errors import PeerRefused
from hierfl.link import frames
from hierfl.link import link_pb2 as pb
from hierfl.link.base_grid import RUN_ID, BaseGrid
from hierfl.link.client import LinkClient
from hierfl.link.flower_compat import assume_identity, stamp
from hierfl.link.link_grid import LinkGrid
from hierfl.link.memory_grid import MemoryGrid
from hierfl.link.responder import Responder, Vote

assume_identity(RUN_ID)

LIMIT_S = 20.0
"""Seconds after which a test that still waits has failed."""

MakeApp = Callable[[str], ClientApp]
MakeVote = Callable[[str], Vote | None]


def no_vote(name: str) -> None:
    """Return what answers the steps of a node that is asked for none."""


def say(text: str, node_id: int, message_type: str = "query.echo") -> Message:
    """Return a request to `echo_app`."""
    return Message(RecordDict({"say": ConfigRecord({"text": text})}), node_id, message_type)


def text(reply: Message) -> str:
    """Return what a reply of `echo_app` says."""
    return str(reply.content.config_records["say"]["text"])


def echo_app(name: str) -> ClientApp:
    """Return an app that says its name and what it was told, or raises it."""
    app = ClientApp()

    @app.query("echo")
    def echo(message: Message, context: Context) -> Message:
        return _answer(f"{name} heard {text(message)}", message)

    @app.query("fail")
    def fail(message: Message, context: Context) -> Message:
        raise RuntimeError(text(message))

    @app.query("bulk")
    def bulk(message: Message, context: Context) -> Message:
        return _answer("x" * int(text(message)), message)

    @app.query("node")
    def node(message: Message, context: Context) -> Message:
        return _answer(str(context.node_id), message)

    @app.query("nothing")
    def nothing(message: Message, context: Context) -> Message:
        return None  # type: ignore[return-value]  # what an app must not do

    @app.query("stranger")
    def stranger(message: Message, context: Context) -> Message:
        return say("a question instead of an answer", 1)

    @app.query("unspeakable")
    def unspeakable(message: Message, context: Context) -> Message:
        return Message(RecordDict({"say": ConfigRecord({"n": 1 << 80})}), reply_to=message)

    @app.query("surrogate")
    def surrogate(message: Message, context: Context) -> Message:
        raise OSError("no file \udcff")

    return app


def _answer(said: str, message: Message) -> Message:
    return Message(RecordDict({"say": ConfigRecord({"text": said})}), reply_to=message)


class Tree(ABC):
    """A grid with its children, all attached.

    Attributes:
        grid: the parent's.
        children: by name.
        heard: the Flower messages that each child's `Responder` was handed, as bytes.
        steps: the requests of steps that it was handed.
        ran: the types of the messages that each child's app was called with.
    """

    grid: BaseGrid
    children: dict[str, Responder]

    def __init__(self) -> None:
        self.heard: dict[str, list[bytes]] = {}
        self.steps: dict[str, list[pb.StepRequest]] = {}
        self.ran: dict[str, list[str]] = {}

    @abstractmethod
    def hold(self, name: str) -> None:
        """Let a child be slow: it answers nothing from now on, until it is released."""

    @abstractmethod
    def release(self, name: str) -> None:
        """Let a slow child go on."""

    @abstractmethod
    def leaves_for_good(self, name: str) -> None:
        """Release a slow child that was banned, and see that it goes."""

    @abstractmethod
    def close(self) -> None:
        """End the run; the children leave."""

    def _watched(self, name: str, app: ClientApp) -> ClientApp:
        ran = self.ran[name] = []

        def run(message: Message, context: Context) -> Message:
            ran.append(message.metadata.message_type)
            return app(message, context)

        return run  # type: ignore[return-value]  # all that is done with an app is to call it

    def _listen_in(self, name: str, child: Responder) -> Responder:
        heard, steps = self.heard.setdefault(name, []), self.steps.setdefault(name, [])
        answer, vote = child.answer_message, child.answer_step

        def listen(data: bytes) -> bytes:
            heard.append(data)
            return answer(data)

        def listen_to_steps(request: pb.StepRequest) -> bytes:
            steps.append(request)
            return vote(request)

        child.answer_message = listen  # type: ignore[method-assign]
        child.answer_step = listen_to_steps  # type: ignore[method-assign]
        return child


class _PatientMemoryGrid(MemoryGrid):
    """A MemoryGrid whose calls to some children are put off."""

    def __init__(self, children: dict[str, Responder], quorum: float) -> None:
        super().__init__(children, quorum)
        self.waiting: dict[str, list[bytes]] = {}

    def _ask(self, name: str, frame: bytes) -> None:
        if name in self.waiting:
            self.waiting[name].append(frame)
        else:
            super()._ask(name, frame)

    def release(self, name: str) -> None:
        for frame in self.waiting.pop(name, []):
            super()._ask(name, frame)


class MemoryTree(Tree):
    """Children in this thread. A slow one is called when it is released."""

    def __init__(
        self, names: Sequence[str], make_app: MakeApp, quorum: float, make_vote: MakeVote = no_vote
    ) -> None:
        super().__init__()
        self.children = {}
        for node_id, name in enumerate(names, start=1):
            context = Context(RUN_ID, node_id, {"name": name}, RecordDict(), {})
            child = Responder(self._watched(name, make_app(name)), context, make_vote(name))
            self.children[name] = self._listen_in(name, child)
        self.grid: _PatientMemoryGrid = _PatientMemoryGrid(self.children, quorum)

    def hold(self, name: str) -> None:
        self.grid.waiting[name] = []

    def release(self, name: str) -> None:
        self.grid.release(name)

    def leaves_for_good(self, name: str) -> None:
        assert name not in self.grid._children

    def close(self) -> None:
        pass


class Leaf:
    """A LinkClient in a thread of its own.

    Attributes:
        outcome: what `serve` raised, once the thread is over; None if it returned.
    """

    def __init__(self, client: LinkClient, name: str) -> None:
        self.client = client
        self.outcome: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name=f"leaf {name}", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            self.client.serve()
        except BaseException as error:
            self.outcome = error

    def join(self) -> BaseException | None:
        """Wait until it leaves; return what `serve` raised."""
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive(), f"{self._thread.name} did not leave"
        return self.outcome


class LinkTree(Tree):
    """Children in threads of their own, over gRPC. A slow one sits in its app."""

    def __init__(
        self, names: Sequence[str], make_app: MakeApp, quorum: float, make_vote: MakeVote = no_vote
    ) -> None:
        super().__init__()
        self.grid: LinkGrid = LinkGrid("127.0.0.1:0", names, quorum=quorum)
        self.address = self.grid.open()
        self._gates = {name: threading.Event() for name in names}
        self.leaves = {name: self._grow(name, make_app(name), make_vote(name)) for name in names}
        self.children = {name: leaf.client.responder for name, leaf in self.leaves.items()}
        assert not self.grid.wait_for_children(LIMIT_S)

    def _grow(self, name: str, app: ClientApp, vote: Vote | None) -> Leaf:
        self._gates[name].set()
        watched, gate = self._watched(name, app), self._gates[name]

        def gated(message: Message, context: Context) -> Message:
            assert gate.wait(LIMIT_S)
            return watched(message, context)

        def gated_vote(request: pb.StepRequest) -> pb.Ballot | pb.OutOfSync:
            assert gate.wait(LIMIT_S) and vote is not None
            return vote(request)

        client = LinkClient(
            self.address,
            name,
            gated,  # type: ignore[arg-type]
            None if vote is None else gated_vote,
        )
        self._listen_in(name, client.responder)
        return Leaf(client, name)

    def hold(self, name: str) -> None:
        self._gates[name].clear()

    def release(self, name: str) -> None:
        self._gates[name].set()

    def leaves_for_good(self, name: str) -> None:
        self.release(name)
        assert isinstance(self.leaves[name].join(), PeerRefused)

    def close(self) -> None:
        for gate in self._gates.values():
            gate.set()
        self.grid.close()
        for leaf in self.leaves.values():
            leaf.join()


class FlowerGrid:
    """What a Tunnel needs of Flower's own grid: each message reaches a child as a new process."""

    def __init__(self, children: dict[int, Responder]) -> None:
        self.held: set[int] = set()
        self._children = children
        self._asked: dict[str, Message] = {}
        self._sent = 0

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = []
        for message in messages:
            self._sent += 1
            ids.append(f"flower-{self._sent}")
            stamp(message, ids[-1])
            self._asked[ids[-1]] = message
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        ready = [i for i in message_ids if self._asked[i].metadata.dst_node_id not in self.held]
        return [self._answer(self._asked.pop(i)) for i in ready]

    def _answer(self, message: Message) -> Message:
        asked = pb.Tunnelled.FromString(polling.from_content(message.content))
        answer = b""
        if not asked.over:
            child = self._children[message.metadata.dst_node_id]
            child.forget()
            answer = child.answer(frames.parse(asked.frame))
        return Message(polling.to_content(answer), reply_to=message)


class PollingTree(Tree):
    """Children behind Flower's own grid. A slow one's answer is not there to be pulled."""

    def __init__(
        self, names: Sequence[str], make_app: MakeApp, quorum: float, make_vote: MakeVote = no_vote
    ) -> None:
        super().__init__()
        self.children = {}
        for node_id, name in enumerate(names, start=1):
            context = Context(RUN_ID, node_id, {"name": name}, RecordDict(), {})
            child = Responder(self._watched(name, make_app(name)), context, make_vote(name))
            self.children[name] = self._listen_in(name, child)
        self._ids = {name: 7_000 - i for i, name in enumerate(names)}  # Flower's are any numbers
        self._flower = FlowerGrid({self._ids[name]: c for name, c in self.children.items()})
        self._often = patch.object(polling, "EVERY_S", 0.005)
        self._often.start()
        flower = cast(Grid, cast(Any, self._flower))
        self.grid: polling.Tunnel = polling.Tunnel(flower, self._ids, quorum, "", "run")
        self.grid.__enter__()

    def hold(self, name: str) -> None:
        self._flower.held.add(self._ids[name])

    def release(self, name: str) -> None:
        self._flower.held.discard(self._ids[name])

    def leaves_for_good(self, name: str) -> None:
        self.release(name)
        assert name in self.grid.members.banned

    def close(self) -> None:
        self._flower.held.clear()
        self.grid.__exit__()
        self._often.stop()


TREES: dict[str, type[MemoryTree] | type[LinkTree] | type[PollingTree]] = {
    "memory": MemoryTree,
    "link": LinkTree,
    "polling": PollingTree,
}
