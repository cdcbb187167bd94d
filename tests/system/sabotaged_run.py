"""`hierfl run` with a saboteur: `sabotaged_run.py OUT NODE POINT VICTIM KEY=VALUE...`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.launcher.local import node_command, run_local
from hierfl.config import load_config
from hierfl.errors import HierflError, render
from hierfl.planning.plan import resolve


def main(out: Path, node: str, point: str, victim: str, sets: list[str]) -> None:
    """Run to the end."""
    config = resolve(load_config(None, sets))
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.yaml").write_text(config.to_yaml())

    def build(role: str, name: str, addresses: Sequence[str]) -> list[str]:
        command = node_command(role, name, addresses, out)
        if name != node:
            return command
        saboteur, arguments = str(Path(__file__).with_name("saboteur.py")), command[2:]
        return [saboteur, point, str(out), victim, *arguments]

    run_local(config, out=out, build=build)


if __name__ == "__main__":
    folder, where, when, whom, *keys = sys.argv[1:]
    try:
        main(Path(folder), where, when, whom, keys)
    except HierflError as error:
        print(render(error), file=sys.stderr)
        sys.exit(error.exit_code)
