"""The processes of nodes whose parent is the launcher itself."""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping, Sequence
from queue import SimpleQueue
from time import monotonic

from deploy.launcher.process import Command, Ended, ForkServer, NodeProcess, stop
from deploy.launcher.signals import failure
from hierfl.errors import RunFailed

PATIENCE = 5.0  # seconds that nodes get to end by themselves


class Crew:
    """Starts nodes, and interrupts the main thread when one of them ends before `dismiss`.

    The main thread is elsewhere, in code that knows nothing of processes: it gets a SIGTERM, as if
    somebody had stopped the launcher, and `failure` says why. However the block ends, no node
    outlives it.

    Args:
        imports: the modules that all nodes share.
        environment: see `ForkServer`.

    Attributes:
        failure: which node ended, if one did.
    """

    def __init__(self, imports: Sequence[str], environment: Mapping[str, str]) -> None:
        self.failure: RunFailed | None = None
        self._nursery = ForkServer(imports, environment)
        self._events: SimpleQueue[object] = SimpleQueue()
        self._nodes: list[NodeProcess] = []
        self._dismissed = False
        self._lock = threading.Lock()

    def start(self, commands: Sequence[Command]) -> None:
        """Start nodes, once.

        Raises:
            RunFailed: one cannot be started.
        """
        for command in commands:
            self._nodes.append(NodeProcess(self._nursery, command, self._events))
        threading.Thread(target=self._watch, name="crew", daemon=True).start()

    def dismiss(self) -> None:
        """Let the nodes end.

        Raises:
            RunFailed: one has ended already, and the interrupt was caught by somebody else.
        """
        with self._lock:
            self._dismissed = True
        if self.failure is not None:
            raise self.failure

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        with self._lock:
            self._dismissed = True
        try:
            if kind is None:
                deadline = monotonic() + PATIENCE
                for node in self._nodes:
                    node.ended(max(0.0, deadline - monotonic()))
            stop((node for node in self._nodes if not node.ended(0.0)), PATIENCE)
        finally:
            self._nursery.close()

    def _watch(self) -> None:
        event = self._events.get()
        with self._lock:
            if isinstance(event, Ended) and not self._dismissed:
                self.failure = failure(event.process, event.code)
                main = threading.main_thread().ident
                assert main is not None  # it runs
                signal.pthread_kill(main, signal.SIGTERM)
