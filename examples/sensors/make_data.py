"""Make the data of this example: a folder of CSV files for each device, and new rows to judge.

    python make_data.py

Six boxes measure temperature, humidity, light and soil moisture every ten minutes. Sun and weather
decide all four, so what one sensor shows follows nearly from the other three: that is what an
autoencoder learns. The boxes differ in their number of days, in shade, warmth and watering.
`new.csv` holds rows of all boxes; in each row that is an anomaly, one sensor shows a value that is
usual in itself, but does not go with the other three.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

COLUMNS = ("temperature", "humidity", "light", "soil")
DAY = 144  # rows: one every ten minutes
BOXES = {  # days, shade (share of the light that is lost), warmth (degrees), watering
    "pi-1": (30, 0.1, 0.0, 0.0),
    "pi-2": (24, 0.3, 1.0, 4.0),
    "pi-3": (12, 0.0, 3.0, 8.0),
    "pi-4": (20, 0.7, -1.0, 12.0),
    "pi-5": (8, 0.8, -2.0, 6.0),
    "pi-6": (4, 0.5, 6.0, 20.0),
}
NEW_DAYS, ANOMALIES = 4, 0.05
Table = npt.NDArray[np.float64]


def measure(box: str, days: int, seed: int) -> Table:
    """Return what a box measures, float64 [days * DAY, 4]."""
    _, shade, warmth, watering = BOXES[box]
    draw = np.random.default_rng([seed, *box.encode()])
    hour = np.tile(np.arange(DAY) * 24 / DAY, days)
    clouds = np.interp(np.arange(days * DAY), np.arange(0, days * DAY + DAY, 48),
                       draw.beta(1.5, 2.0, 3 * days + 3))  # fmt: skip
    sun = np.clip(np.sin(np.pi * (hour - 6) / 12), 0, None)
    warm = np.clip(np.sin(np.pi * (hour - 8) / 12), -0.4, None)
    temperature = 14 + warmth + 9 * warm * (1 - 0.6 * clouds)
    humidity = 55 + 30 * clouds - 18 * warm * (1 - 0.6 * clouds)
    light = 900 * (1 - shade) * sun * (1 - 0.8 * clouds)
    soil = 25 + watering + 15 * clouds - 4 * warm * (1 - 0.6 * clouds)
    clean = np.stack([temperature, humidity, light, soil], 1)
    noisy = clean + draw.normal(size=clean.shape) * (0.2, 0.8, 8.0, 0.4)
    return noisy.clip((-50, 0, 0, 0), (60, 100, 2000, 100))


def disturb(rows: Table, seed: int) -> npt.NDArray[np.int64]:
    """Swap one column of some rows with that of others; return which rows, 0 or 1 each."""
    draw = np.random.default_rng([seed, 1])
    anomaly = (draw.random(len(rows)) < ANOMALIES).astype(np.int64)
    for row in np.flatnonzero(anomaly):
        column = draw.integers(len(COLUMNS))
        other = rows[:, column]
        far = np.abs(other - rows[row, column]) > 1.5 * other.std()
        rows[row, column] = draw.choice(other[far])
    return anomaly


def write(file: Path, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(columns)
        writer.writerows(rows)


def main(folder: Path = Path("."), seed: int = 1) -> None:
    for box, (days, *_) in BOXES.items():
        rows = measure(box, days, seed).round(2)
        for week, start in enumerate(range(0, len(rows), 7 * DAY), 1):
            file = folder / "data" / box / f"week-{week}.csv"
            write(file, COLUMNS, rows[start : start + 7 * DAY])
    new = np.concatenate([measure(box, NEW_DAYS, seed + 1) for box in BOXES])
    anomaly = disturb(new, seed)
    table = [
        [*row, flag] for row, flag in zip(new.round(2).tolist(), anomaly.tolist(), strict=True)
    ]
    write(folder / "new.csv", (*COLUMNS, "anomaly"), table)


if __name__ == "__main__":
    main()
