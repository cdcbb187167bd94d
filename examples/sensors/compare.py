"""What training together is worth: federated, all rows in one place, each box alone.

    python compare.py ef-lion hier-signsgd hier-sgd

The same model, steps and algorithm each time; "in one place" is a single device with the rows of
all boxes and six times the batch. Models are judged on the usual rows of new.csv, which nobody has
trained on: the mean squared error, in units of each column's variance over all boxes, and how well
the errors tell the anomalies (see anomalies.py).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from anomalies import area, column
from make_data import BOXES, COLUMNS

from hierfl.cli import main
from hierfl.learning.saved import load_model

SEEDS = (1, 2, 3)
RATES = {"ef-lion": 0.01, "hier-signsgd": 0.01, "hier-sgd": 1.0}
NEW = np.stack([column(Path("new.csv"), name) for name in COLUMNS], 1)
ANOMALY = column(Path("new.csv"), "anomaly")
Errors = npt.NDArray[np.float64]


def train(folder: Path, algorithm: str, seed: int, *sets: str) -> Path:
    """Train in this process; return the run folder."""
    values = [f"seed={seed}", f"algorithm.name={algorithm}", f"algorithm.lr={RATES[algorithm]}",
              "runtime=memory", "data.validation=0.0", "evaluate={}", *sets]  # fmt: skip
    arguments = [part for value in values for part in ("--set", value)]
    with redirect_stdout(StringIO()), suppress(SystemExit):
        main(["run", "topology.yaml", "--out", str(folder), *arguments])
    return folder


def errors(run: Path, unit: Errors) -> Errors:
    """Return the squared error of each row of new.csv, float64 [n]."""
    saved = load_model(run)
    mean, deviation = saved.facts.mean, saved.facts.deviation
    assert mean is not None
    assert deviation is not None
    inputs = torch.from_numpy(((NEW - mean) / deviation).astype(np.float32))
    with torch.inference_mode():
        outputs = saved.model()(inputs).numpy() * deviation + mean
    return np.asarray(np.square((outputs - NEW) / unit).mean(1))


def judged(found: Sequence[Errors]) -> tuple[float, float]:
    """Return the error of usual rows and the area under the curve, means over models."""
    usual = float(np.mean([one[ANOMALY == 0].mean() for one in found]))
    return usual, float(np.mean([area(one, ANOMALY) for one in found]))


def compare(algorithm: str, seed: int) -> dict[str, tuple[float, float]]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        together = train(folder / "together", algorithm, seed)
        whole = train(
            folder / "whole", algorithm, seed, "data.root=data",
            "data.dataset.csv.files='*/*.csv'", "algorithm.batch_size=384",
            "edges=[{name: e, devices: [all]}]",
        )  # fmt: skip
        alone = [
            train(folder / box, algorithm, seed, f"edges=[{{name: e, devices: [{box}]}}]")
            for box in BOXES
        ]
        unit = load_model(whole).facts.deviation
        assert unit is not None
        return {
            "federated": judged([errors(together, unit)]),
            "in one place": judged([errors(whole, unit)]),
            "each box alone": judged([errors(run, unit) for run in alone]),
        }


if __name__ == "__main__":
    torch.set_num_threads(1)
    for algorithm in sys.argv[1:]:
        results = [compare(algorithm, seed) for seed in SEEDS]
        for way in results[0]:
            table = np.array([result[way] for result in results])
            cells = [
                f"{mean:.3f} ± {deviation:.3f}"
                for mean, deviation in zip(table.mean(0), table.std(0, ddof=1), strict=True)
            ]
            print("|", " | ".join([algorithm, way, *cells]), "|", flush=True)
