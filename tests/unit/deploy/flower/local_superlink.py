"""A SuperLink whose SuperNodes are in this process, and answer at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flwr.app import Context, RecordDict
from flwr.proto.node_pb2 import NodeInfo

from deploy.flower import app
from hierfl.link.memory_grid import MemoryGrid
from hierfl.link.responder import Responder

NodeConfig = Mapping[str, bool | float | int | str]


class LocalSuperLink(MemoryGrid):
    """Its grid, as Flower would hand it to a ServerApp.

    Args:
        nodes: of each node the name under which it is registered, "" for none, and its node config.
    """

    def __init__(self, *nodes: tuple[str, NodeConfig]) -> None:
        self._registered = [name for name, _ in nodes]
        super().__init__(
            {
                f"node-{number}": Responder(
                    app.client, Context(1, number, dict(config), RecordDict(), {})
                )
                for number, (_, config) in enumerate(nodes, start=1)
            }
        )

    def get_nodes(self) -> Iterable[NodeInfo]:
        """Return the nodes and their registered names."""
        for node_id in self.get_node_ids():
            yield NodeInfo(node_id=node_id, name=self._registered[node_id - 1])
