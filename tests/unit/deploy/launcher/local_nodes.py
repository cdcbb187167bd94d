"""A launcher and nodes for test_local and test_kill: real processes that do what the test says.

    python local_nodes.py launch OUT HUB [--set KEY=VALUE ...]
    python local_nodes.py node OUT HUB ROLE NAME [ARGUMENT ...]

Each node connects to HUB, a TCP port of the test, says who it is, and obeys one line at a time:
`exit CODE`, `say TEXT`, `complain TEXT`, `stubborn` (ignores SIGTERM from then on), `leave` (starts
a process that outlives it, and says its pid).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.launcher import processes, server, supervisor
from deploy.launcher.local import run_local
from deploy.launcher.process import Command, Process
from deploy.launcher.processes import Processes
from hierfl.config import load_config
from hierfl.errors import HierflError, render

STUBBORN = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); signal.pause()"


def launch(out: Path, hub: str, *options: str) -> int:
    for module in (processes, supervisor):
        vars(module)["PATIENCE_S"] = 0.5
    config = load_config(None, [option for option in options if option != "--set"])
    if config.name == "hasty":
        supervisor.GOODBYE_S = 0.1
        server.ANSWER_S = 0.5

    def build(role: str, name: str, sets: Sequence[str]) -> list[str]:
        return [__file__, "node", str(out), hub, role, name, *sets]

    kind = Broken if config.name == "broken" else Processes
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with kind(imports=()) as started:
            run_local(config, out=out, processes=started, build=build)
    except HierflError as error:
        print(render(error), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


class Broken(Processes):
    def start(self, command: Command) -> Process:
        if command.name == "west-2":
            raise ZeroDivisionError
        return super().start(command)


def node(out: Path, hub: str, role: str, name: str, *arguments: str) -> int:
    def stopped(number: int, frame: object) -> None:
        with (out / "stopped").open("a") as file:
            file.write(f"{role}\n")
        os._exit(1)

    signal.signal(signal.SIGTERM, stopped)
    with socket.create_connection(("127.0.0.1", int(hub))) as connection:
        stream = connection.makefile("rw")
        hello = {
            "role": role,
            "name": name,
            "pid": os.getpid(),
            "session": os.getsid(0),
            "arguments": arguments,
            "environment": {key: os.environ.get(key) for key in server.ENVIRONMENT},
            "path": sys.path,
        }
        print(json.dumps(hello), file=stream, flush=True)
        for line in stream:
            order, _, text = line.strip().partition(" ")
            if order == "exit":
                return int(text)
            if order == "say":
                print(text)
            elif order == "complain":
                print(text, file=sys.stderr)
            elif order == "stubborn":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            elif order == "leave":
                command = [sys.executable, "-c", STUBBORN]
                print(subprocess.Popen(command, start_new_session=True).pid, file=stream)
            print("done", file=stream, flush=True)
    return 1


if __name__ == "__main__":
    mode, folder, *rest = sys.argv[1:]
    sys.exit((launch if mode == "launch" else node)(Path(folder), *rest))
