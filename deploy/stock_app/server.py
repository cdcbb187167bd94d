"""The other end of `hierfl accelerate`: a Flower app's ServerApp, with a link as its Grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from flwr.app import Context, RecordDict
from flwr.serverapp import ServerApp

from deploy.stock_app.app import load_part
from deploy.stock_app.node import MAX_FRAME, ServerNode, reseed
from deploy.stock_app.shared_grid import SharedGrid
from hierfl.link.base_grid import RUN_ID
from hierfl.link.traffic import Traffic
from hierfl.units import plural, size


@dataclass(frozen=True)
class Served:
    """What a run came to: seconds that the ServerApp ran, and what it sent and got meanwhile."""

    seconds: float
    traffic: Traffic

    def __str__(self) -> str:
        up, down = self.traffic.up, self.traffic.down
        return (
            f"{plural(down.frames, 'message')} answered by {up.frames:,} in {self.seconds:.2f} s "
            f"({down.frames / self.seconds:,.1f} messages/s)\n"
            f"down {size(down.messages):>9}\nup   {size(up.messages):>9}"
        )


def run(text: str) -> None:
    """Serve as a `ServerNode`, given as JSON, and print what the run came to.

    Raises:
        HierflError: whatever a person can put right.
    """
    node = ServerNode.from_json(text)
    reseed()
    app = load_part(node.server, "serverapp", ServerApp, Path(node.folder))
    with SharedGrid(node.address, node.nodes) as grid:
        grid.open(max_frame=MAX_FRAME)
        grid.wait_for_children()
        began = monotonic()
        app(grid, Context(RUN_ID, 0, {}, RecordDict(), dict(node.run_config)))
        served = Served(monotonic() - began, grid.ledger.traffic())
    print(served)
