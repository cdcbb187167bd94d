"""One step of an edge whose devices compute nothing, beside a bare gRPC echo of the same bytes.

Both run in this call, with the same number of child processes: the edge takes real decisions on
100,000 parameters (bit-sliced count, random ties, tally), the devices answer at once. The echo
sends as many bytes to as many children over `grpc.aio` and waits for as many back.

    python -m benchmarks.step
"""

from __future__ import annotations

import asyncio
import hashlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable

import grpc
import grpc.aio
import numpy as np
from flwr.app import Message

from edge.cluster import Cluster
from hierfl.algorithms.schedule import to_bits
from hierfl.config import load_config
from hierfl.link.client import LinkClient
from hierfl.link.link_grid import LinkGrid
from hierfl.link.pending import PendingReplies
from hierfl.numerics.layout import Layout
from hierfl.planning.plan import resolve
from hierfl.protocol.messages import Ballot, Base, BaseAck, StepRequest, from_content, reply

PARAMETERS, STEPS, WARM_UP = 100_000, 300, 50
SIZE = PARAMETERS // 8
METHOD = "/bench.Echo/Echo"


class TimedGrid(LinkGrid):
    """Notes when each step begins."""

    def __init__(self, address: str, children: list[str]) -> None:
        super().__init__(address, children, quorum=1.0)
        self.begins: list[float] = []

    def stream(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> PendingReplies:
        """See `BaseGrid.stream`."""
        self.begins.append(time.perf_counter())
        return super().stream(messages, timeout=timeout)


def edge(devices: int) -> list[float]:
    """Return the seconds of each step of a real edge."""
    names = [f"device-{i}" for i in range(devices)]
    config = resolve(load_config(None, [f"algorithm.edge_steps={STEPS}"]))
    layout = Layout(("w",), ((PARAMETERS,),))
    base = Base(lr=to_bits(np.float32(0.001)), model=bytes(4 * PARAMETERS), layout=layout.to_json())
    with TimedGrid("127.0.0.1:0", names) as grid:
        address = grid.open()
        children = [start("device", address, name) for name in names]
        grid.wait_for_children()
        cluster = Cluster("edge", grid, config, lambda news: None)
        cluster.move(1, base)
        grid.begins.clear()
        cluster.run(1, b"")
    for child in children:
        child.wait(10)
    return [b - a for a, b in zip(grid.begins, grid.begins[1:], strict=False)]


def device(address: str, name: str) -> None:
    """Answer every question at once, with a ballot of the right size."""
    from flwr.app import Context
    from flwr.clientapp import ClientApp

    app = ClientApp()
    ballot = np.random.default_rng(len(name)).bytes(SIZE)

    @app.train("base")
    def base(message: Message, context: Context) -> Message:
        model = from_content(Base, message.content).model
        return reply(message, BaseAck(hashlib.sha256(model).hexdigest(), 100))

    @app.train("vote")
    def vote(message: Message, context: Context) -> Message:
        from_content(StepRequest, message.content)
        return reply(message, Ballot(ballot, 0.5))

    LinkClient(address, name, app).serve()


def echo(children: int) -> list[float]:
    """Return the seconds of each exchange of a bare echo."""
    return asyncio.run(_echo_server(children))


async def _echo_server(children: int) -> list[float]:
    outboxes: list[asyncio.Queue[bytes | None]] = []
    complete = asyncio.Event()
    answers: asyncio.Queue[bytes] = asyncio.Queue()

    async def handle(requests: object, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        outbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        outboxes.append(outbox)

        async def read() -> None:
            while (data := await context.read()) is not grpc.aio.EOF:
                answers.put_nowait(data)

        reader = asyncio.create_task(read())
        if len(outboxes) == children:
            complete.set()
        while (data := await outbox.get()) is not None:
            await context.write(data)
        reader.cancel()

    service, method = METHOD.strip("/").split("/")
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    handler = grpc.stream_stream_rpc_method_handler(handle)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {method: handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    processes = [start("echo", f"127.0.0.1:{port}", str(i)) for i in range(children)]
    await complete.wait()
    payload, seconds = bytes(SIZE), []
    for _ in range(STEPS):
        begin = time.perf_counter()
        for outbox in outboxes:
            outbox.put_nowait(payload)
        for _ in range(children):
            await answers.get()
        seconds.append(time.perf_counter() - begin)
    for outbox in outboxes:
        outbox.put_nowait(None)
    await server.stop(1)
    for process in processes:
        process.wait(10)
    return seconds


def echo_child(address: str) -> None:
    """Send every frame back."""

    async def main() -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            call = channel.stream_stream(METHOD)()
            payload = bytes(SIZE)
            async for _ in call:
                await call.write(payload)
            await call.done_writing()

    asyncio.run(main())


def start(role: str, address: str, name: str) -> subprocess.Popen[bytes]:
    """Start a child process of this module."""
    return subprocess.Popen([sys.executable, "-m", "benchmarks.step", role, address, name])


def main() -> None:
    """Print the table."""
    print(f"{PARAMETERS} parameters, {SIZE} bytes each way, {STEPS - WARM_UP} steps; ms")
    print("devices  echo median  echo p95  edge median  edge p95  edge/echo")
    for devices in (2, 10, 20):
        figures = []
        for run in (echo, edge):
            ms = sorted(1000 * s for s in run(devices)[WARM_UP:])
            figures += [statistics.median(ms), ms[int(0.95 * len(ms))]]
        ratio = figures[2] / figures[0]
        print(f"{devices:7}  " + "  ".join(f"{x:10.2f}" for x in figures) + f"  {ratio:9.2f}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["device", address, name]:
            device(address, name)
        case ["echo", address, _]:
            echo_child(address)
        case _:
            main()
