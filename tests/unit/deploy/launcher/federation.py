"""A launcher in a process of its own, and the nodes that it has started."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.system.harness import wait_gone

ROOT = Path(__file__).parents[4]
LIMIT = 60.0
DEFAULT = ["cloud", "east", "east-0", "east-1", "east-2", "west", "west-0", "west-1", "west-2"]


class Node:
    """The test's end of one running node."""

    def __init__(self, connection: socket.socket) -> None:
        self.stream = connection.makefile("rw")
        hello = json.loads(self.stream.readline())
        self.role, self.name, self.pid = hello["role"], hello["name"], hello["pid"]
        self.session, self.arguments = hello["session"], hello["arguments"]
        self.environment, self.path = hello["environment"], hello["path"]

    def order(self, text: str) -> str:
        """Have it do something; return what it says to that."""
        print(text, file=self.stream, flush=True)
        said = ""
        if not text.startswith("exit"):
            while (line := self.stream.readline()) != "done\n":
                assert line, "it has ended"
                said += line
        return said

    def gone(self) -> bool:
        """Waits until the process has ended: the kernel then closes its connection."""
        try:
            return self.stream.readline() == ""
        except ConnectionResetError:
            return True


class Federation:
    """A launcher in a process of its own, and the nodes that it has started."""

    def __init__(self, out: Path, *sets: str) -> None:
        self.out = out
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(LIMIT)
        options = [part for text in sets for part in ("--set", text)]
        hub = str(self.listener.getsockname()[1])
        script = str(Path(__file__).with_name("local_nodes.py"))
        self.launcher = subprocess.Popen(
            [sys.executable, script, "launch", str(out), hub, *options],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            cwd=out,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.nodes: dict[str, Node] = {}

    def accept(self) -> Node:
        connection, _ = self.listener.accept()
        connection.settimeout(LIMIT)
        node = Node(connection)
        self.nodes[node.name] = node
        return node

    def up(self) -> Federation:
        for _ in DEFAULT:
            self.accept()
        assert sorted(self.nodes) == DEFAULT
        return self

    def end(self) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of the launcher, after which no node is left."""
        stdout, stderr = self.launcher.communicate(timeout=LIMIT)
        assert all(node.gone() for node in self.nodes.values())
        wait_gone([node.pid for node in self.nodes.values()], limit=0)
        return self.launcher.returncode, stdout, stderr

    def log(self, name: str) -> str:
        return (self.out / "logs" / f"{name}.log").read_text()

    def server(self) -> int:
        """Return the pid of the fork server, the parent of all nodes."""
        parents = {parent(node.pid) for node in self.nodes.values()}
        assert len(parents) == 1
        return parents.pop()


def parent(pid: int) -> int:
    """Return the parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
