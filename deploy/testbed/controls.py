"""What a page may do to a running testbed: kill a node, cut a link, restore it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress

from deploy.testbed.iproute import batch
from deploy.testbed.registry import inside
from deploy.testbed.topology import Wiring
from hierfl.config import Config
from hierfl.config.validators import no_such


class Controls:
    """Acts on the testbed that this process has built, or is about to build.

    Args:
        config: the federation.
    """

    def __init__(self, config: Config) -> None:
        self._wiring = Wiring.of(config, testbed_name())
        self.actions: dict[str, Callable[[str], str]] = {
            "kill": self.kill,
            "cut": self.cut,
            "restore": self.restore,
        }

    def kill(self, node: str) -> str:
        """Kill a node's process; return what has been done.

        Raises:
            ConfigError: there is no such node.
        """
        for pid in inside([self._known(node, self._wiring.namespaces)]):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return "was killed"

    def cut(self, node: str) -> str:
        """Cut the link between a node and its parent, as `hierfl link down` does.

        Raises:
            ConfigError: there is no such node.
            RunFailed: `ip` fails.
        """
        return self._turn(node, "down", "link cut")

    def restore(self, node: str) -> str:
        """Undo `cut`."""
        return self._turn(node, "up", "link restored")

    def _turn(self, node: str, way: str, done: str) -> str:
        port = self._known(node, self._wiring.cuts)
        batch("ip", [f"link set {port} {way}"], self._wiring.switch)
        return done

    def _known(self, node: str, places: dict[str, str]) -> str:
        if node not in places:
            raise no_such("node", node, list(places))
        return places[node]


def testbed_name() -> str:
    """Return what the names of this process' testbed begin with."""
    return f"hierfl-{os.getpid()}"
