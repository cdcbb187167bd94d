"""The process from which a launcher forks all its others.

Importing torch takes a process seconds and a hundred megabytes. Here that happens once: a forked
process has it at once, and shares the memory. The launcher starts this one with a connected
SOCK_SEQPACKET socket, whose descriptor is its argument. An order is a packet of JSON:

    {"import": [MODULE or MODULE:FUNCTION, ...]}    imports it; calls the function
    {"start": KEY, ...}                             forks a process, see `Start`
    {"signal": KEY, "number": N}                    signals it, if it has not ended

`{"obeyed": true}` answers each order, and `{"ended": KEY, "code": N}` tells of each end.

What is forked ends with this process: the kernel kills it (PR_SET_PDEATHSIG). This process ends
when the launcher does, and kills what is left, also what its children have left behind: Flower's
`flwr-clientapp`, for one, may wait for good for a message of a run that was stopped.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import logging
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from setproctitle import setproctitle

from deploy.launcher.children import reaped, watch_children
from deploy.launcher.namespace import enter

LONGEST_ORDER = 1 << 18

ORPHANS_S = 5.0
"""Seconds that orphaned processes have to end by themselves before they are killed."""

KILLED_S = 2.0
"""Seconds to wait for killed processes; the kernel may hold one in a hanging file system."""

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Start:
    """What a forked process is to be.

    Attributes:
        start: the launcher's key for it.
        argv: what would follow `python -P` on its command line: `-m MODULE ARGUMENT ...`, or
            `SCRIPT ARGUMENT ...`.
        shown: which of its descriptors 1 and 2 stay the launcher's; the others go to the pipe that
            comes with the order.
        namespace: the network namespace that it is in; "": the launcher's.
        environment: variables to set.
    """

    start: int
    argv: Sequence[str]
    shown: Sequence[int]
    namespace: str
    environment: dict[str, str]


class ForkServer:
    """Carries out a launcher's orders. It has one thread, so that forking is safe."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._keys: dict[int, int] = {}
        self._wake = watch_children()
        self._poll = select.poll()  # select() takes no descriptor above 1023
        for readable in (self._control.fileno(), self._wake):
            self._poll.register(readable, select.POLLIN)

    def run(self) -> None:
        """Take orders until the launcher has ended; then end all forked processes."""
        with suppress(ConnectionError):  # the launcher was killed
            while self._turn():
                pass
        self._poll.unregister(self._control.fileno())
        for pid in self._keys:
            os.kill(pid, signal.SIGKILL)
        self._end_orphans()

    def _turn(self) -> bool:
        """Handle the next order or end of a process; return whether the launcher still runs."""
        ready = dict(self._poll.poll())
        if self._wake in ready:
            os.read(self._wake, 4096)
            self._reap()
        if self._control.fileno() not in ready:
            return True
        packet, descriptors, _, _ = socket.recv_fds(self._control, LONGEST_ORDER, 1)
        if packet:
            self._obey(json.loads(packet), descriptors)
            self._answer({"obeyed": True})
        for descriptor in descriptors:
            os.close(descriptor)
        return bool(packet)

    def _answer(self, answer: dict[str, Any]) -> None:
        self._control.sendall(json.dumps(answer).encode())

    def _obey(self, order: dict[str, Any], descriptors: Sequence[int]) -> None:
        if "import" in order:
            prepare(order["import"])
        elif "start" in order:
            self._start(Start(**order), *descriptors)
        else:
            for pid, key in self._keys.items():
                if key == order["signal"]:
                    os.kill(pid, order["number"])  # not reaped yet, so the pid is not reused

    def _start(self, start: Start, output: int) -> None:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:  # there are too many processes
            os.write(output, f"it cannot be started: {error.strerror}\n".encode())
            self._answer({"ended": start.start, "code": 1})
            return
        if pid == 0:
            become(start, parent, output)
        self._keys[pid] = start.start

    def _reap(self) -> None:
        for pid, code in reaped():
            if (key := self._keys.pop(pid, None)) is not None:
                self._answer({"ended": key, "code": code})

    def _end_orphans(self) -> None:
        """Wait for all children to end, then kill those that are left, and theirs."""
        if self._children_end(ORPHANS_S):
            return
        deadline = time.monotonic() + KILLED_S
        while time.monotonic() < deadline and not self._children_end(0.1):
            for pid in _children():
                os.kill(pid, signal.SIGKILL)

    def _children_end(self, seconds: float) -> bool:
        """Wait for the end of all children; return whether they have ended."""
        deadline = time.monotonic() + seconds
        try:
            while (left := deadline - time.monotonic()) > 0:
                if not os.waitpid(-1, os.WNOHANG)[0]:
                    self._poll.poll(1000 * left)
                    with suppress(BlockingIOError):
                        os.read(self._wake, 4096)
        except ChildProcessError:  # there is no child left
            return True
        return False


def _children() -> Iterator[int]:
    """Yield the processes whose parent this one is."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                yield int(stat.parent.name)


def prepare(references: Sequence[str]) -> None:
    """Import modules, and call functions of them, for all that will be forked.

    The garbage collector does not run meanwhile, and never looks at what there is afterwards: a
    collection would write to the pages that all processes share.
    """
    gc.disable()
    for reference in references:
        module, _, function = reference.partition(":")
        with suppress(Exception):  # the process that needs it reports the error
            imported = importlib.import_module(module)
            if function:
                getattr(imported, function)()
    gc.freeze()


def become(start: Start, parent: int, output: int) -> NoReturn:
    """Turn this process, just forked, into what `python -P ARGV` would be, and end with it."""
    os.setsid()
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has died before that
        os._exit(1)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for descriptor in {1, 2} - {*start.shown}:
        os.dup2(output, descriptor)
    os.closerange(3, 1 << 16)
    os.environ.update(start.environment)
    gc.enable()
    setproctitle(title(start.argv))
    code = 1
    try:
        if start.namespace:
            enter(start.namespace)  # before another thread exists, which would stay outside
        if start.argv[0] == "-m":
            sys.argv = list(start.argv[1:])
            runpy.run_module(start.argv[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = list(start.argv)
            runpy.run_path(start.argv[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = _exit_code(end)
    except BaseException:
        traceback.print_exc()
    finally:
        # Taking torch and gRPC down piece by piece takes a second, for which the launcher waits.
        logging.shutdown()
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _exit_code(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)  # as Python itself does
    return 1


def title(argv: Sequence[str]) -> str:
    """Return a forked process's name, by which `ps` shows it.

    >>> title(["-m", "hierfl", "device", "tree.yaml", "--name", "east-0"])
    'hierfl device tree.yaml --name east-0'
    """
    program, *arguments = argv[1:] if argv[0] == "-m" else argv
    return " ".join([Path(program).name, *arguments])


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def main() -> None:
    """Serve the launcher at the other end of the socket whose descriptor is the second argument."""
    setproctitle("hierfl fork-server")
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    _prctl(PR_SET_PDEATHSIG, signal.SIGCONT)  # a stopped process must continue to see the end
    ForkServer(socket.socket(fileno=int(sys.argv[2]))).run()
