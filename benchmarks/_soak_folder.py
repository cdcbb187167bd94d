"""What a run folder says, while the run goes on and afterwards; and the same run undisturbed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

from hierfl.link.traffic import Faults
from hierfl.protocol.checkpoint import Checkpoint

ENVIRONMENT = {**os.environ, "FLWR_TELEMETRY_ENABLED": "0", "OMP_NUM_THREADS": "1"}


def faults(kept: Checkpoint) -> Faults:
    """Return the faults that a node has counted."""
    return Faults.from_list(cast(list[int], kept.facts["faults"]))


def undisturbed(out: Path, rounds: int) -> str:
    """Return the hash of the model after so many rounds in one process, without faults.

    Where that run fails it has no hash: what is returned instead says so, and equals none.
    """
    place, log = out / "undisturbed", out / "undisturbed.log"
    command = [sys.executable, "-m", "hierfl", "run", str(out / "config.yaml")]
    for text in ("runtime=memory", f"algorithm.rounds={rounds}"):
        command += ["--set", text]
    with log.open("wb") as file:
        done = subprocess.run(
            [*command, "--out", str(place)], stdout=file, stderr=file, env=ENVIRONMENT
        )
    if done.returncode != 0:
        return f"unknown: it ended with exit code {done.returncode}, see {log}"
    return str(json.loads((place / "summary.json").read_text())["model_sha256"])


def metrics(out: Path) -> list[dict[str, Any]]:
    """Return the lines of metrics.jsonl, but for one that is being written."""
    try:
        text = (out / "metrics.jsonl").read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def last_round(out: Path) -> int:
    """Return the last round that is done and evaluated; 0 before the first."""
    return max((line["round"] for line in metrics(out)), default=0)
