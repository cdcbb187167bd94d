"""A bare echo over `grpc.aio`: so many bytes to each child, and as many back."""

from __future__ import annotations

import asyncio
import time

import grpc
import grpc.aio

from benchmarks._edge import SIZE, start
from hierfl.link.loop import LinkLoop

METHOD = "/bench.Echo/Echo"


class Echo:
    """A server and its children.

    Args:
        loop: where the server runs.
        children: how many there are.
        processes: in how many processes they are.
        module: the module that is run as `echo ADDRESS CHILDREN` and calls `echo_children`.
    """

    def __init__(self, loop: LinkLoop, children: int, processes: int, module: str) -> None:
        self._loop = loop
        self._outboxes: list[asyncio.Queue[bytes | None]] = []
        self._answers: asyncio.Queue[bytes] = asyncio.Queue()
        self._complete = asyncio.Event()
        self._children = children
        address = loop.run(self._open()).result()
        shares = [len(range(i, children, processes)) for i in range(processes)]
        self._processes = [start(module, "echo", address, str(share)) for share in shares]
        loop.run(self._attached()).result(120)

    def exchange(self, times: int) -> tuple[list[float], float]:
        """Send to all children and wait for all answers, so many times.

        Returns:
            the seconds of each, and this process's processor time for all of them, s.
        """
        return self._loop.run(self._exchange(times)).result()

    def close(self) -> None:
        """End all streams."""
        self._loop.run(self._close()).result()
        for process in self._processes:
            process.wait(60)

    async def _open(self) -> str:
        service, method = METHOD.strip("/").split("/")
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        handler = grpc.stream_stream_rpc_method_handler(self._handle)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: handler}),)
        )
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return f"127.0.0.1:{port}"

    async def _handle(self, _: object, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        outbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._outboxes.append(outbox)
        if len(self._outboxes) == self._children:
            self._complete.set()
        reader = asyncio.create_task(self._read(context))
        while (data := await outbox.get()) is not None:
            await context.write(data)
        reader.cancel()

    async def _read(self, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        while (data := await context.read()) is not grpc.aio.EOF:
            self._answers.put_nowait(data)

    async def _attached(self) -> None:
        await self._complete.wait()

    async def _exchange(self, times: int) -> tuple[list[float], float]:
        payload, seconds, began = bytes(SIZE), [], time.process_time()
        for _ in range(times):
            begin = time.perf_counter()
            for outbox in self._outboxes:
                outbox.put_nowait(payload)
            for _ in range(self._children):
                await self._answers.get()
            seconds.append(time.perf_counter() - begin)
        return seconds, time.process_time() - began

    async def _close(self) -> None:
        for outbox in self._outboxes:
            outbox.put_nowait(None)
        await self._server.stop(1)


def echo_children(address: str, number: int) -> None:
    """Be so many children: send every frame back."""

    async def child() -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(address, options) as channel:
            call = channel.stream_stream(METHOD)()
            payload = bytes(SIZE)
            async for _ in call:
                await call.write(payload)
            await call.done_writing()

    async def children() -> None:
        await asyncio.gather(*(child() for _ in range(number)))

    asyncio.run(children())
