"""Make the data of this example: a year of hourly electricity use of six houses, a file each.

python make_data.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

HOUSES = {  # persons, share of the heating that is electric, share of evenings at home
    "house-1": (1, 0.0, 0.4),
    "house-2": (2, 0.3, 0.7),
    "house-3": (4, 0.0, 0.9),
    "house-4": (3, 0.8, 0.8),
    "house-5": (5, 0.2, 0.9),
    "house-6": (2, 1.0, 0.5),
}
DAYS = 365


def use(house: str, seed: int) -> npt.NDArray[np.float64]:
    """Return the energy that a house uses in each hour of a year, in kWh, float64 [24 * DAYS]."""
    persons, heating, evenings = HOUSES[house]
    draw = np.random.default_rng([seed, *house.encode()])
    hour, day = np.tile(np.arange(24), DAYS), np.repeat(np.arange(DAYS), 24)
    at_home = np.repeat(draw.random(DAYS) < evenings, 24)
    evening = np.exp(-0.5 * ((hour - 19) / 2) ** 2) * at_home
    morning = np.exp(-0.5 * ((hour - 7) / 1) ** 2) * (day % 7 < 5)
    cold = 0.5 + 0.5 * np.cos(2 * np.pi * (day - 15) / DAYS)
    clean = 0.15 + 0.12 * persons * (morning + 2.5 * evening) + 1.5 * heating * cold
    return clean * draw.gamma(25.0, 1 / 25, clean.shape)


def main(folder: Path = Path("."), seed: int = 1) -> None:
    for house in HOUSES:
        file = folder / "data" / house / "meter.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(file, use(house, seed), fmt="%.3f", header="kwh", comments="")


if __name__ == "__main__":
    main()
