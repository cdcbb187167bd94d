"""What travels in a Flower message beside, or in place of, a model."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, RecordDict

from hierfl.codecs import AnyCodec, make_codec
from hierfl.errors import ConfigError, PayloadError
from hierfl.flower.tensors import Tensors
from hierfl.numerics.buffers import Vector

KEY = "hierfl.onebit"
"""The name of the record."""

CodecSpec = str | Mapping[str, Mapping[str, int | float]]
"""A codec's name, or {name: {option: value}}."""


def codec_of(spec: CodecSpec, tensors: Tensors) -> AnyCodec:
    """Return a codec for a model.

    Raises:
        ConfigError: there is no such codec, or an option is wrong.
    """
    name, options = (spec, {}) if isinstance(spec, str) else _only(spec)
    return make_codec(name, tensors.layout, **options)


def _only(spec: Mapping[str, Mapping[str, int | float]]) -> tuple[str, dict[str, int | float]]:
    if len(spec) != 1:
        raise ConfigError("codec", f"expected one name with its options, got {spec!r}")
    ((name, options),) = spec.items()
    return name, dict(options)


def checksum(reference: Vector) -> int:
    """Return the CRC-32 of a reference, by which nodes find out that theirs is the server's."""
    return zlib.crc32(np.ascontiguousarray(reference).view(np.uint8).data)


@dataclass(frozen=True)
class Down:
    """What the server tells a node of the reference, the model that all nodes compute at.

    Attributes:
        session: names the server's run.
        version: of the reference, once all changes are applied.
        changes: payloads of the downlink codec, in order, for a node that holds the version of so
            many before; empty where the message holds the reference itself, if `whole`.
        is_whole: whether the message's arrays are the reference.
        checksum: of the reference at `version`.
        uplink: the codec of replies.
        downlink: the codec of changes.
    """

    session: str
    version: int
    changes: tuple[bytes, ...]
    is_whole: bool
    checksum: int
    uplink: CodecSpec
    downlink: CodecSpec

    def to_record(self) -> ConfigRecord:
        """Return it as a record of a message."""
        return ConfigRecord(
            {
                "session": self.session,
                "version": self.version,
                "changes": list(self.changes),
                "whole": self.is_whole,
                "checksum": self.checksum,
                "codecs": json.dumps([self.uplink, self.downlink]),
            }
        )

    @classmethod
    def take(cls, content: RecordDict) -> Down | None:
        """Take it out of a message; None where there is none.

        Raises:
            PayloadError: the record is none that `to_record` makes.
        """
        if KEY not in content:
            return None
        record: Any = content.pop(KEY)
        try:
            uplink, downlink = json.loads(record["codecs"])
            return cls(
                record["session"],
                record["version"],
                tuple(record["changes"]),
                record["whole"],
                record["checksum"],
                uplink,
                downlink,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise PayloadError(f"a message's {KEY!r} is malformed: {error}") from None


def codecs_of(content: RecordDict) -> tuple[CodecSpec, CodecSpec] | None:
    """Return the codecs of replies and of changes that a message names; None where it names none.

    Raises:
        PayloadError: the record is none that `Down.to_record` makes.
    """
    down = Down.take(RecordDict({KEY: content[KEY]})) if KEY in content else None
    return None if down is None else (down.uplink, down.downlink)


def up_record(payload: bytes) -> ConfigRecord:
    """Return the record of a reply: the encoded update."""
    return ConfigRecord({"update": payload})


def take_update(content: RecordDict) -> bytes | None:
    """Take the encoded update out of a reply; None where there is none."""
    record: Any = content.pop(KEY, None)
    update = record.get("update") if record is not None else None
    return update if isinstance(update, bytes) else None
