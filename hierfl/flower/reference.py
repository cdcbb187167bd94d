"""The server's account of the model that its nodes hold, version by version."""

from __future__ import annotations

import uuid
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from flwr.app import ArrayRecord
from numpy.typing import NDArray

from hierfl.codecs import AnyCodec, encode
from hierfl.errors import ConfigError
from hierfl.flower.tensors import Tensors, add
from hierfl.flower.wire import CodecSpec, Down, checksum, codec_of
from hierfl.numerics.buffers import Vector
from hierfl.numerics.rng import generator


@dataclass
class Reference:
    """What the nodes hold: y, moved towards the strategy's model x by encoded changes.

        y += decode(encode(x - y))

    What a change leaves out is in the next: x - y is the residual (EF21-P, Gruntkowska et al.
    2023, arXiv 2209.15218). A node that has missed changes gets those that it lacks, or y itself
    where that is shorter.

    Attributes:
        tensors: the model's.
        uplink: the codec of replies.
        downlink: the codec of changes.
        value: y, float32[d].
        rest: the arrays that are sent as they are.
        version: how often y was published, from 1.
    """

    tensors: Tensors
    uplink: CodecSpec
    downlink: CodecSpec
    value: Vector
    rest: ArrayRecord
    version: int = 1
    session: str = field(default_factory=lambda: uuid.uuid4().hex)
    _latest: ArrayRecord | None = None
    _changes: deque[bytes] = field(default_factory=deque)

    @classmethod
    def start(cls, arrays: ArrayRecord, uplink: CodecSpec, downlink: CodecSpec) -> Reference:
        """Return the first version, which is the model itself.

        Raises:
            ConfigError: a codec cannot be made, or that of the downlink does not contract.
            ValueError: the model has no floating-point array.
        """
        tensors = Tensors.of(arrays)
        if not tensors.layout.d:
            raise ValueError("the model has no floating-point array that could be compressed")
        codec_of(uplink, tensors)
        if not codec_of(downlink, tensors).contracts:
            raise ConfigError(
                "downlink",
                f"{downlink!r} may add more to the error than it takes away",
                'Choose a codec that contracts, for example "sign" or {"qsgd": {"bits": 4}}.',
            )
        value = tensors.flatten(arrays).astype(np.float32)
        made = cls(tensors, uplink, downlink, value, tensors.rest(arrays))
        made._latest = arrays
        return made

    def codec(self, spec: CodecSpec) -> AnyCodec:
        """Return a codec for the model."""
        return codec_of(spec, self.tensors)

    def publish(self, arrays: ArrayRecord) -> NDArray[np.float64]:
        """Move the reference towards a model, unless it was the last one; return x, float64[d]."""
        x = self.tensors.flatten(arrays)
        if self._latest is arrays:
            return x
        codec = self.codec(self.downlink)
        draws = generator(0, "cloud", self.version, 0, "flower downlink")
        payload = encode(codec, (x - self.value).astype(np.float32), draws)
        add(self.value, codec.decode(payload))
        self.rest = self.tensors.rest(arrays)
        self.version += 1
        self._latest = arrays
        self._changes.append(payload)
        while sum(map(len, self._changes)) > 4 * self.tensors.layout.d:
            self._changes.popleft()
        return x

    def down(self, held: int | None) -> tuple[Down, ArrayRecord]:
        """Return what brings a node up to date, and the arrays beside it.

        Args:
            held: the version that it holds; None: none.
        """
        lacks = len(self._changes) + 1 if held is None else self.version - held
        is_whole = lacks > len(self._changes)
        changes = [] if is_whole else list(self._changes)[len(self._changes) - lacks :]
        down = Down(
            session=self.session,
            version=self.version,
            changes=tuple(changes),
            is_whole=is_whole,
            checksum=checksum(self.value),
            uplink=self.uplink,
            downlink=self.downlink,
        )
        return down, self.tensors.join(self.value, self.rest) if is_whole else self.rest
