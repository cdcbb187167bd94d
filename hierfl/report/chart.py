"""A line chart as SVG text: no library, no script, colours from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 560, 280
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 40
COLOURS = 8
"""How many colours the style sheet knows: `.c0` to `.c7`."""


@dataclass(frozen=True)
class Series:
    """One curve.

    Attributes:
        label: its name in the legend.
        xs, ys: its points; finite, of equal length.
    """

    label: str
    xs: Sequence[float]
    ys: Sequence[float]


@dataclass(frozen=True)
class Mark:
    """Something that has happened at a value of x: a vertical line.

    Attributes:
        x: where.
        label: what.
        bad: whether it is a fault.
    """

    x: float
    label: str
    bad: bool


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers, 1, 2 or 5 times a power of ten apart, that lie within [low, high].

    >>> nice_ticks(0, 1)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> nice_ticks(3, 3)
    [3.0]
    """
    if not high > low:
        return [float(low)]
    rough = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def line_chart(
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    x_format: Callable[[float], str] = "{:g}".format,
    y_format: Callable[[float], str] = "{:g}".format,
    log_x: bool = False,
    marks: Sequence[Mark] = (),
) -> str:
    """Return an SVG element; one without points says that there is nothing to draw yet.

    With `log_x` the x axis is logarithmic: every x must be above 0. Marks outside the curves' span
    are at its end.
    """
    drawn = [one for one in series if one.xs]
    if not drawn:
        return f'<p class="empty">{escape(y_label)}: nothing to draw yet</p>'
    xs = [x for one in drawn for x in one.xs]
    ys = [y for one in drawn for y in one.ys]
    to_x, x_ticks = _x_axis(xs, log_x)
    low, high = _padded(min(ys), max(ys))
    to_y = _scale(low, high, HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(f"{y_label} against {x_label}")}">'
    ]
    for tick in nice_ticks(low, high):
        y = to_y(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(
            f'<text x="{LEFT - 6}" y="{y + 4:g}" class="end">{escape(y_format(tick))}</text>'
        )
    for tick in x_ticks:
        parts.append(
            f'<text x="{to_x(tick)}" y="{HEIGHT - BOTTOM + 16}" class="mid">'
            f"{escape(x_format(tick))}</text>"
        )
    for mark in marks:
        x = to_x(min(max(mark.x, min(xs)), max(xs)))
        kind = "fault" if mark.bad else "back"
        parts.append(
            f'<line class="{kind}" x1="{x}" x2="{x}" y1="{TOP}" y2="{HEIGHT - BOTTOM}">'
            f"<title>{escape(mark.label)}</title></line>"
        )
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:g}" y="{HEIGHT - 6}" class="mid label">'
        f"{escape(x_label)}</text>"
    )
    for index, one in enumerate(drawn):
        points = " ".join(f"{to_x(x)},{to_y(y)}" for x, y in zip(one.xs, one.ys, strict=True))
        last = f"{one.label}: {y_format(one.ys[-1])} at {x_format(one.xs[-1])}"
        parts.append(
            f'<g class="c{index % COLOURS}"><title>{escape(last)}</title>'
            f'<polyline points="{points}"/>'
            f'<circle cx="{to_x(one.xs[-1])}" cy="{to_y(one.ys[-1])}" r="3"/></g>'
        )
    return "".join(parts) + "</svg>"


def legend(labels: Sequence[str]) -> str:
    """Return the legend of charts whose series are in this order."""
    items = "".join(
        f'<li class="c{index % COLOURS}">{escape(label)}</li>' for index, label in enumerate(labels)
    )
    return f'<ul class="legend">{items}</ul>'


def _x_axis(xs: Sequence[float], log: bool) -> tuple[Callable[[float], float], list[float]]:
    """Return the map from values to places, and the ticks."""
    if not log:
        low, high = min(0.0, *xs), max(xs)
        return _scale(low, high, LEFT, WIDTH - RIGHT), nice_ticks(low, high)
    first, last = math.log10(min(xs)), math.log10(max(xs))
    to_place = _scale(first, last, LEFT, WIDTH - RIGHT)
    powers = range(math.ceil(first), math.floor(last) + 1)
    ticks = [10.0**power for power in powers] or [min(xs), max(xs)]
    return lambda x: to_place(math.log10(x)), ticks


def _padded(low: float, high: float) -> tuple[float, float]:
    """Return an interval that is never empty, with a little room at both ends."""
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    return low - room, high + room


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """Return the map from [low, high] to [start, end], to a tenth of a unit."""
    span = (high - low) or 1.0
    return lambda value: round(start + (value - low) / span * (end - start), 1)
