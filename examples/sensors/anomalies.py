"""How well scores tell the anomalies of new.csv from its other rows.

python anomalies.py scores.csv
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt


def column(file: Path, name: str) -> npt.NDArray[np.float64]:
    with file.open(encoding="utf-8", newline="") as lines:
        return np.array([float(row[name]) for row in csv.DictReader(lines)])


def area(scores: npt.NDArray[np.float64], anomaly: npt.NDArray[np.float64]) -> float:
    """Return the share of pairs of an anomaly and a usual row in which the anomaly scores higher.

    That is the area under the ROC curve (Hanley and McNeil 1982).
    """
    ranks = np.argsort(np.argsort(scores)) + 1.0
    odd, usual = int(anomaly.sum()), int((1 - anomaly).sum())
    return float((ranks[anomaly == 1].sum() - odd * (odd + 1) / 2) / (odd * usual))


if __name__ == "__main__":
    found = area(column(Path(sys.argv[1]), "mse"), column(Path("new.csv"), "anomaly"))
    print(f"area under the ROC curve {found:.3f}")
