"""One of Flower's programs, as a process that has imported it goes on; see `deploy.flower.warm`.

Started as `python -IS warm_call.py FOLDER PROGRAM ARGUMENT ...`: without site-packages, at once.
"""

from __future__ import annotations

import json
import os
import socket
import sys


def main(folder: str, program: str, *arguments: str) -> int:
    """Let it be forked, and wait for its end; return its exit code."""
    argv = [program, *arguments]
    try:
        at = os.open(folder, os.O_RDONLY)
        door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        door.connect(f"/proc/self/fd/{at}/socket")
        order = {"argv": argv, "folder": os.getcwd(), "environment": dict(os.environ)}
        socket.send_fds(door, [json.dumps(order).encode()], [0, 1, 2])
    except OSError:
        os.execv(program, argv)
    code = int(door.recv(16) or b"1")
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
