"""The live page: a view that serves a run to browsers, read-only, from a thread of its own.

A page is one document without anything from outside; what happens comes to it by server-sent
events. The run never waits for it: events go through a bounded queue.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from cloud.views.background import ROOM, is_step
from cloud.views.base import Event, View
from cloud.views.page.endpoint import Endpoint, is_right, token_for
from cloud.views.page.state import Change, PageState
from hierfl.config import Config
from hierfl.errors import HierflError
from hierfl.runs.results import read_metrics

log = logging.getLogger(__name__)

REFRESH_S = 0.2
"""How often what has happened goes to the browsers."""

ALIVE_S = 10.0
"""How often a browser hears something even if nothing happens."""

MOST_READERS = 64
CLOSE_S = 3.0

Controls = Mapping[str, Callable[[str], str]]

SECURITY = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",  # an address may hold the token
    "X-Content-Type-Options": "nosniff",
}


class Page(View):
    """Serves a run's page from its construction to `close`.

    Args:
        config: the federation's resolved configuration.
        folder: the run folder: the rounds that it holds are shown.
        endpoint: where.
        controls: what a browser may do to the run: a name -> an action on a node, which returns
            what has been done. Then every browser needs a token.

    Attributes:
        url: the page's address.

    Raises:
        HierflError: if the run folder cannot be read, or a token cannot be written there.
    """

    def __init__(
        self, config: Config, folder: Path, endpoint: Endpoint, controls: Controls | None = None
    ) -> None:
        self._controls = controls or {}
        self._token = token_for(endpoint, folder, always=bool(self._controls))
        self.url = endpoint.url(self._token)
        self._state = PageState(config, _history(folder), controls=list(self._controls))
        self._waiting: deque[tuple[Event, float]] = deque(maxlen=ROOM)
        self._over = threading.Event()
        self._now = ""
        self._listener = endpoint.listener
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._app(endpoint),
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=MOST_READERS,
                timeout_graceful_shutdown=int(CLOSE_S),
            )
        )
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)
        self._thread.start()

    def handle(self, event: Event) -> None:
        """Queue an event; of too many steps, some are not shown."""
        if not (is_step(event) and len(self._waiting) > ROOM // 2):
            self._waiting.append((event, time.time()))

    def close(self) -> None:
        """Show the end, and stop serving."""
        self._over.set()
        self._thread.join(2 * CLOSE_S)

    # -- in the page's thread --------------------------------------------------------------------

    def _run(self) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        try:
            asyncio.run(self._serve())
        except Exception as error:
            log.warning("the page is gone: %s: %s", type(error).__name__, error)
        finally:
            self._listener.close()

    async def _serve(self) -> None:
        serving = asyncio.create_task(self._server.serve([self._listener]))
        while not (self._over.is_set() or serving.done()):
            self._take()
            await asyncio.sleep(REFRESH_S)
        self._take()
        self._state.close(time.time())
        self._refresh()
        self._server.should_exit = True
        await serving

    def _take(self) -> None:
        """Take what has happened."""
        while self._waiting:
            event, at = self._waiting.popleft()
            try:
                self._state.handle(event, at)
            except KeyError as error:  # an edge that the topology has not
                log.debug("an event of %s is not shown", error)
        self._refresh()

    def _refresh(self) -> None:
        self._now = _json(self._state.now())

    # -- what browsers ask for -------------------------------------------------------------------

    def _app(self, endpoint: Endpoint) -> Starlette:
        hosts = ["127.0.0.1", "localhost", "[", endpoint.host]  # "[": what it takes of "[::1]:80"
        guard = Middleware(
            TrustedHostMiddleware,  # no name of a stranger's that points to this machine
            allowed_hosts=hosts if endpoint.is_loopback else ["*"],
        )
        routes = [Route("/", self._document), Route("/events", self._events)]
        if self._controls:
            routes.append(Route("/control", self._control, methods=["POST"]))
        return Starlette(routes=routes, middleware=[guard])

    def _refused(self, request: Request) -> Response | None:
        if is_right(request.query_params.get("token", ""), self._token) or not self._token:
            return None
        return PlainTextResponse(
            "The token is missing or wrong: use the address that hierfl printed when it started.\n",
            status_code=403,
            headers=SECURITY,
        )

    async def _document(self, request: Request) -> Response:
        return self._refused(request) or HTMLResponse(_document(), headers=SECURITY)

    async def _events(self, request: Request) -> Response:
        return self._refused(request) or StreamingResponse(
            self._stream(), media_type="text/event-stream", headers=SECURITY
        )

    async def _control(self, request: Request) -> Response:
        """Do something to a node: ?do=ACTION&node=NAME."""
        if refused := self._refused(request):
            return refused
        action = self._controls.get(request.query_params.get("do", ""))
        node = request.query_params.get("node", "")
        if action is None:
            return PlainTextResponse("There is no such action.\n", status_code=404)
        try:
            done = await run_in_threadpool(action, node)
        except HierflError as error:
            return PlainTextResponse(f"{error.message}\n", status_code=409)
        self._state.say(time.time(), node, f"{done} from the page")
        return PlainTextResponse(f"{node}: {done}\n")

    async def _stream(self) -> AsyncIterator[str]:
        """Yield everything so far, then what comes to it, until the run is over."""
        state, shown, quiet = self._state, "", 0.0
        changes: list[Change] | None = None
        while True:
            end = state.end
            if changes is None:
                yield _message("whole", _json(state.whole()))
            for kind, data in changes or ():
                if kind == "bye":
                    yield _message("now", self._now)
                yield _message(kind, _json(data))
                if kind == "bye":
                    return
            if self._now != shown:
                shown, quiet = self._now, 0.0
                yield _message("now", shown)
            elif (quiet := quiet + REFRESH_S) > ALIVE_S:
                quiet = 0.0
                yield ": nothing new\n\n"
            await asyncio.sleep(REFRESH_S)
            changes = state.since(end)


def _history(folder: Path) -> list[Any]:
    """Return the rounds that a run folder holds; none if it is unreadable or damaged."""
    try:
        rows, damaged = read_metrics(folder / "metrics.jsonl")
    except HierflError as error:
        log.warning("%s", error)
        return []
    for line in damaged:
        log.warning("%s", line)
    return rows


def _document() -> str:
    return files("cloud.views.page").joinpath("page.html").read_text(encoding="utf-8")


def _json(data: Any) -> str:
    return json.dumps(data, allow_nan=False, separators=(",", ":"))


def _message(kind: str, text: str) -> str:
    return f"event: {kind}\ndata: {text}\n\n"
