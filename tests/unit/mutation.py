"""Bytes and contents that nobody has made with care, drawn from a seed."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, RecordDict

from hierfl.protocol.messages import Base, BaseAck, OutOfSync, Redo, Redone, Report, Round

KINDS: tuple[type[Any], ...] = (Base, BaseAck, Round, Redo, Redone, OutOfSync, Report)

WORDS = [
    *(struct.pack("<f", x) for x in (np.nan, np.inf, -np.inf, -1.0, 3.4e38, 1e-45, -0.0)),
    *(struct.pack("<q", n) for n in (-1, 1 << 31, (1 << 63) - 1, -(1 << 63), 1 << 40)),
    b"\xff\xff\xff\xff\x0f", b"\xff" * 9 + b"\x01", b"\x80" * 12, b"\x00" * 8, b"\xff" * 8,
    b"[", b"]" * 9, b'"', b"-1", b"1e999", b"9" * 30, b"NaN", "\ud7ff٣".encode(),
]  # fmt: skip
"""Numbers at the ends of their ranges, and what lengths and texts begin with."""


class Mutator:
    """Draws hostile bytes and hostile values.

    Args:
        seed: of the draws.

    Attributes:
        count: how many were drawn.
    """

    def __init__(self, seed: int) -> None:
        self.draw = np.random.default_rng(seed)
        self.count = 0

    def bytes(self, originals: Sequence[bytes]) -> bytes:
        """Return one of the originals changed in a few places; now and then only noise."""
        self.count += 1
        draw = self.draw
        if draw.random() < 0.05:
            return draw.bytes(int(draw.integers(0, 200)))
        data = bytearray(self.pick(originals))
        for _ in range(int(draw.integers(1, 4))):
            at = int(draw.integers(0, len(data) + 1))
            end = min(len(data), at + int(draw.integers(1, 9)))
            match int(draw.integers(0, 8)):
                case 0:
                    data[at:end] = draw.bytes(end - at)
                case 1:
                    del data[at:end]
                case 2:
                    data[at:at] = data[at:end]
                case 3:
                    data[at:at] = draw.bytes(int(draw.integers(0, 9)))
                case 4:
                    word = self.pick(WORDS)
                    data[at : at + len(word)] = word
                case 5 if at < len(data):
                    data[at] ^= 1 << int(draw.integers(0, 8))
                case 6:
                    del data[at:]
                case _:
                    data += self.pick(originals)[:at]
        return bytes(data)

    def content(self, truth: Any) -> RecordDict:
        """Return a content of which some fields are not as they should be."""
        self.count += 1
        kind = type(truth) if self.draw.random() < 0.8 else self.pick(KINDS)
        values = {spec.name: getattr(truth, spec.name, None) for spec in fields(kind)}
        for name in self.pick([[name] for name in values] or [[]]):
            values[name] = self.value(values[name])
        if self.draw.random() < 0.05:
            values["more"] = self.value(None)
        held: dict[str, Any] = {name: value for name, value in values.items() if _flower(value)}
        content = RecordDict({kind.__name__: ConfigRecord(held)})
        if self.draw.random() < 0.05:
            content[self.pick(KINDS).__name__] = ConfigRecord({"loss": 1.0})
        return content

    def value(self, truth: Any) -> Any:
        """Return what might be said in place of a field's value, mostly of the same type."""
        payload = truth if isinstance(truth, bytes) and truth else b"\x07" * 6
        pools: dict[type, list[Any]] = {
            int: [-1, 0, 1, 2, 17, 1 << 31, 1 << 40, (1 << 63) - 1, -(1 << 63)],
            float: [np.nan, np.inf, -np.inf, 1e308, -1e308, 3.5e38, 0.25],
            str: ["", "x" * 3000, "[]", '[["w",[9999999999,9999999999]]]', "0f" * 32],
            bytes: [
                b"", payload[:-1], payload + b"\0", b"\xff" * len(payload), payload * 50,
                self.draw.bytes(len(payload)), self.bytes([payload]),
                struct.pack("<f", np.nan) * (len(payload) // 4),
            ],
            list: [
                [], [b""], [payload] * 3, [payload] * 200, [payload, b"\xff" * len(payload)],
                [0] * 5, [0] * 6, [-1] * 6, [(1 << 63) - 1] * 6, [1.5], ["x"], [True],
            ],
            type(None): [None, True],
        }  # fmt: skip
        same = type(truth) in pools and self.draw.random() < 0.7
        everything = [item for pool in pools.values() for item in pool]
        return self.pick(pools[type(truth)] if same else everything)

    def pick(self, items: Sequence[Any]) -> Any:
        """Return one of some items."""
        return items[int(self.draw.integers(0, len(items)))]


def _flower(value: Any) -> bool:
    """Whether Flower lets a ConfigRecord hold the value."""
    return value is not None
