"""Made-up data: a small folder for each device, in the form that task.py reads."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO, StringIO

import numpy as np
import numpy.typing as npt

ROWS = 240
IMAGES = 60
SIDE = 16
SENTENCES = 400

Generator = np.random.Generator


def samples(task: str, device: str) -> Mapping[str, bytes]:
    """Return the files of a device's folder, by name; each device has others.

    Args:
        task: what is learnt from them.
        device: the device's name, which keys what is drawn.
    """
    draw = np.random.default_rng([1, *device.encode()])
    match task:
        case "classification":
            return {"rows.csv": _csv("x1,x2,x3,x4,label", _classes(draw))}
        case "regression":
            return {"rows.csv": _csv("x1,x2,x3,x4,y", _values(draw))}
        case "reconstruction":
            return {"rows.csv": _csv("x1,x2,x3,x4,x5,x6", _correlated(draw))}
        case "segmentation":
            return {"images.npz": _images(draw)}
        case _:
            return {"text.txt": _text(draw)}


def _csv(head: str, table: npt.NDArray[np.float64]) -> bytes:
    text = StringIO()
    np.savetxt(text, table, fmt="%.4g", delimiter=",", header=head, comments="")
    return text.getvalue().encode()


def _classes(draw: Generator) -> npt.NDArray[np.float64]:
    """Three classes, in other shares at each device."""
    centers = np.array([[2.0, 0, 0, 1], [0, 2, 1, 0], [-1, -1, 2, -1]])
    label = draw.choice(3, ROWS, p=draw.dirichlet([1.0] * 3))
    label[:3] = range(3)
    return np.column_stack([centers[label] + draw.normal(size=(ROWS, 4)), label])


def _values(draw: Generator) -> npt.NDArray[np.float64]:
    inputs = draw.normal(draw.normal(size=4), 1.0, (ROWS, 4))
    value = np.tanh(inputs[:, 0]) + 0.5 * inputs[:, 1] * (inputs[:, 2] > 0)
    return np.column_stack([inputs, value + 0.05 * draw.normal(size=ROWS)])


def _correlated(draw: Generator) -> npt.NDArray[np.float64]:
    """Six columns that two numbers decide."""
    one, two = draw.normal(draw.normal(size=2), 1.0, (ROWS, 2)).T
    table = np.stack([one, two, one + two, one - two, np.tanh(one), one * 2 - two], 1)
    return np.asarray(table + 0.05 * draw.normal(size=table.shape))


def _images(draw: Generator) -> bytes:
    """A bright rectangle (class 1) on dark noise (class 0)."""
    labels = np.zeros((IMAGES, SIDE, SIDE), np.int64)
    for label in labels:
        top, left = draw.integers(0, SIDE - 6, 2)
        height, width = draw.integers(4, 9, 2)
        label[top : top + height, left : left + width] = 1
    pixels = draw.normal(60 + 110 * labels, 40).clip(0, 255).astype(np.uint8)
    file = BytesIO()
    np.savez(file, x=pixels[:, None], y=labels)
    return file.getvalue()


def _text(draw: Generator) -> bytes:
    """Sentences of few words; each device prefers others."""
    words = (
        ("The red", "A small", "This old", "No green"),
        ("fox", "boat", "house", "tree"),
        ("sees", "likes", "follows", "forgets"),
        ("the river.", "a friend.", "the road.", "every stone."),
    )
    columns = [
        draw.choice(choice, SENTENCES, p=draw.dirichlet([0.7] * len(choice))) for choice in words
    ]
    lines = map(" ".join, zip(*columns, strict=True))
    return ("\n".join(lines) + "\n").encode()
