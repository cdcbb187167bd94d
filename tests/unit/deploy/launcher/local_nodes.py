"""A launcher and nodes for test_local: real processes that do what the test tells them.

    python local_nodes.py launch OUT HUB [--set KEY=VALUE ...]
    python local_nodes.py node OUT HUB ROLE NAME [ARGUMENT ...]

Each node connects to HUB, a TCP port of the test, says who it is, and obeys one line at a time:
`exit CODE`, `say TEXT`, `complain TEXT`, `stubborn` (ignores SIGTERM from then on).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path
from queue import SimpleQueue

from deploy.launcher import local
from deploy.launcher.process import NODE_ENVIRONMENT, Command, ForkServer, NodeProcess
from hierfl.config import load_config


def launch(out: Path, hub: str, *options: str) -> int:
    local.PATIENCE, local.IMPORTS = 0.5, ()
    config = load_config(None, [option for option in options if option != "--set"])
    if config.name == "hasty":
        local.GOODBYE = 0.1

    def build(role: str, name: str, sets: list[str]) -> list[str]:
        return [__file__, "node", str(out), hub, role, name, *sets]

    if config.name == "broken":
        local.NodeProcess = broken
    return local.run_local(config, out=out, build=build)


def broken(nursery: ForkServer, command: Command, ended: SimpleQueue[object]) -> NodeProcess:
    if command.name == "west-2":
        raise ZeroDivisionError
    return NodeProcess(nursery, command, ended)


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
            "environment": {key: os.environ.get(key) for key in NODE_ENVIRONMENT},
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
            print("done", file=stream, flush=True)
    return 1


if __name__ == "__main__":
    mode, folder, *rest = sys.argv[1:]
    sys.exit({"launch": launch, "node": node}[mode](Path(folder), *rest))
