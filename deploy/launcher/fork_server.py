"""The process from which a launcher forks its nodes.

Importing torch takes a process seconds and a hundred megabytes. Here that happens once: a forked
node has it at once, and shares the memory.

    python -m deploy.launcher.fork_server PADDING MODULE...

One end of a `socketpair` is its standard input.

Orders are lines of JSON: `{"start": KEY, "argv": [...], "shows": BOOL, "namespace": NAME}`, with
two descriptors (the node's standard input, and where its output goes), and `{"signal": KEY,
"number": N}`. The answer is `{"ended": KEY, "code": N}`, once for each start. MODULEs are what is
imported; PADDING makes room for the nodes' command lines.

What a node has started and left behind becomes the nursery's (on Linux), and ends with it: Flower's
`flwr-clientapp` for one may wait for good for a message of a run that was stopped.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from deploy.launcher.namespace import enter
from hierfl.process import parent_watchdog
from hierfl.process.gc_freeze import settle

LONGEST_ORDER = 1 << 16
LINE = 4096
"""Bytes of padding: how long a command line may be that is shown whole."""

ORPHANS_S = 5.0
"""Seconds that what nodes have left behind gets to end by itself once the launcher is gone."""

PR_SET_CHILD_SUBREAPER = 36


class ForkServer:
    """Forks nodes, and tells how they ended. It has one thread, so that forking is safe."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._nodes: dict[int, int] = {}
        self._wake, wake = os.pipe()
        for end in (self._wake, wake):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(wake)
        with suppress(AttributeError, OSError):  # there is none but on Linux
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def run(self) -> None:
        """Take orders until the launcher is gone."""
        with suppress(ConnectionError):  # killed: it left news unread, or there is nobody to tell
            while self._turn():
                pass
        self._end_orphans()

    def _turn(self) -> bool:
        """Wait for something, and see to it; return whether there is a launcher."""
        ready, _, _ = select.select([self._control.fileno(), self._wake], [], [])
        if self._wake in ready:
            os.read(self._wake, LONGEST_ORDER)
            self._reap()
        if self._control.fileno() not in ready:
            return True
        data, descriptors, _, _ = socket.recv_fds(self._control, LONGEST_ORDER, 2)
        for line in data.splitlines():
            self._obey(json.loads(line), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        return bool(data)

    def _obey(self, order: dict[str, Any], descriptors: Sequence[int]) -> None:
        if "start" in order:
            pid = os.fork()
            if pid == 0:
                become(order["argv"], order["shows"], order["namespace"], *descriptors)
            self._nodes[pid] = order["start"]
        else:
            for pid, key in self._nodes.items():
                if key == order["signal"]:
                    os.kill(pid, order["number"])  # nobody else reaps it: the pid is its own

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                if (key := self._nodes.pop(pid, None)) is not None:
                    news = {"ended": key, "code": os.waitstatus_to_exitcode(status)}
                    self._control.sendall(json.dumps(news).encode() + b"\n")

    def _end_orphans(self) -> None:
        """End what nodes have left behind; nodes themselves end with their lifelines."""
        deadline = time.monotonic() + ORPHANS_S
        with suppress(ChildProcessError):  # there is no child left
            while (left := deadline - time.monotonic()) > 0:
                if not os.waitpid(-1, os.WNOHANG)[0]:
                    select.select([self._wake], [], [], left)
                    with suppress(BlockingIOError):
                        os.read(self._wake, LONGEST_ORDER)
            while orphans := list(_children()):
                for pid in orphans:
                    os.kill(pid, signal.SIGKILL)
                os.waitpid(-1, 0)


def _children() -> Iterator[int]:
    """Yield the processes whose parent this one is."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                yield int(stat.parent.name)


def become(argv: Sequence[str], shows: bool, namespace: str, stdin: int, says: int) -> NoReturn:
    """Turn this process, just forked, into what `python ARGV` would be, and end with it."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(stdin, 0)
    os.dup2(says, 2)
    if not shows:
        os.dup2(says, 1)
    os.closerange(3, 1 << 16)
    _call_itself([sys.executable, *argv])
    code = 1
    try:
        if namespace:
            enter(namespace)  # before there is another thread, which would stay outside
        parent_watchdog.watch()
        if argv[0] == "-m":
            sys.argv = list(argv[1:])
            runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = list(argv)
            sys.path.insert(0, str(Path(argv[0]).parent))
            runpy.run_path(argv[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _call_itself(argv: Sequence[str]) -> None:
    """Show the node's command line where the nursery's was, where there is a /proc."""
    with suppress(OSError):
        stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(stat[45]), int(stat[46])  # arg_start and arg_end, see proc(5)
        line = b"\0".join(map(os.fsencode, argv))[: end - start - 1]
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            memory.seek(start)
            memory.write(line.ljust(end - start, b"\0"))


def main(modules: Sequence[str]) -> None:
    """Import what all nodes need, and obey."""
    _call_itself(
        [sys.executable, "-m", "deploy.launcher.fork_server"]
    )  # the padding is no sight to see
    control = socket.socket(fileno=os.dup(0))
    for module in modules:
        with suppress(Exception):  # the node that needs it says what is wrong with it
            importlib.import_module(module)
    settle()  # a collection would write to the pages that the nodes share
    ForkServer(control).run()


if __name__ == "__main__":
    main(sys.argv[2:])
