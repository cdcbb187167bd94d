"""`hierfl run`, but every child dials its wire: `_soak_launch DIR CHILD=ADDRESS...`.

DIR holds the configuration; the wires (see `benchmarks._soak_wires`) lead to the addresses in it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.launcher.local import node_command, run_local
from hierfl.config import CLOUD, load_config
from hierfl.errors import HierflError, render


def main(out: Path, wires: Mapping[str, str]) -> None:
    """Run the federation in `out` until it ends."""
    config = load_config(out / "config.yaml")

    def build(role: str, name: str, sets: Sequence[str]) -> list[str]:
        command = node_command(role, name, sets, out)
        if name in wires:
            parent = config.parent_of(name)
            key = CLOUD if parent == CLOUD else f"edges.{parent}"
            command += ["--set", f"{key}.address={wires[name]}"]
        return command

    run_local(config, out=out, build=build)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), dict(word.split("=", 1) for word in sys.argv[2:]))
    except HierflError as error:
        print(render(error), file=sys.stderr)
        sys.exit(error.exit_code)
