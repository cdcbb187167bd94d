"""The node's end: a Flower mod that decodes the model, and encodes what the node has learnt."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict

from hierfl.codecs import encode
from hierfl.errors import PayloadError
from hierfl.flower.tensors import Tensors, add
from hierfl.flower.wire import KEY, Down, checksum, codec_of, up_record
from hierfl.numerics.buffers import Vector
from hierfl.numerics.rng import generator

log = logging.getLogger(__name__)

Handler = Callable[[Message, Context], Message]
Mod = Callable[[Message, Context, Handler], Message]


def onebit() -> Mod:
    """Return the mod for a ClientApp whose ServerApp has its strategy in `OneBit`.

    The app behind it sees whole models in both directions. Upwards goes the update u of a round,
    its model less the one that it was given, encoded with error feedback (Karimireddy et al. 2019,
    arXiv 1901.09847):

        residual += u,  payload = encode(residual),  residual -= decode(payload)

    The codec is the one that `OneBit` names. The reference (the model that the node was given) and
    the residual are kept in `context.state`: two float32[d]. A message of an app without `OneBit`
    passes unchanged.
    """
    return _onebit


def _onebit(message: Message, context: Context, call_next: Handler) -> Message:
    down = Down.take(message.content)
    if down is None:
        return call_next(message, context)
    (key,) = message.content.array_records
    kept = _receive(down, message.content.array_records[key], context)
    model = kept.tensors.join(kept.reference, kept.rest)
    message.content[key] = model
    is_train = message.metadata.message_type.partition(".")[0] == "train"
    reply = call_next(message, context)
    if is_train and reply.has_content():
        _compress(reply.content, kept, down, context)
    return reply


class _Kept:
    """What a node keeps between messages, in `context.state`."""

    def __init__(self, tensors: Tensors, rest: ArrayRecord, reference: Vector) -> None:
        self.tensors = tensors
        self.rest = rest
        self.reference = reference

    @classmethod
    def read(cls, down: Down, state: RecordDict) -> _Kept:
        """Return what is kept of the server's run, and was brought up to some version.

        Raises:
            PayloadError: the node lacks the version that the changes begin at.
        """
        record = state.config_records.get(KEY, ConfigRecord())
        begins = down.version - len(down.changes)
        if (record.get("session"), record.get("version")) != (down.session, begins):
            raise PayloadError(
                f"this node does not hold version {begins} of the model; the server sends the "
                "whole model with its next message"
            )
        tensors = Tensors.from_json(str(record["tensors"]))
        reference = np.array(state.array_records[f"{KEY}.reference"]["x"].numpy())
        return cls(tensors, state.array_records[f"{KEY}.rest"], reference)

    def write(self, down: Down, state: RecordDict) -> None:
        """Keep it for the next message."""
        state[KEY] = ConfigRecord(
            {
                "session": down.session,
                "version": down.version,
                "tensors": self.tensors.to_json(),
            }
        )
        state[f"{KEY}.reference"] = ArrayRecord({"x": Array(self.reference)})
        state[f"{KEY}.rest"] = self.rest


def _receive(down: Down, arrays: ArrayRecord, context: Context) -> _Kept:
    """Bring the reference up to the server's version."""
    if down.is_whole:
        tensors = Tensors.of(arrays)
        reference = tensors.flatten(arrays).astype(np.float32)
        kept = _Kept(tensors, tensors.rest(arrays), reference)
    else:
        kept = _Kept.read(down, context.state)
        codec = codec_of(down.downlink, kept.tensors)
        for payload in down.changes:
            add(kept.reference, codec.decode(payload))
        kept.rest = arrays
    if checksum(kept.reference) != down.checksum:
        context.state.pop(KEY, None)
        raise PayloadError("this node's model differs from the server's, which sends it anew")
    kept.write(down, context.state)
    return kept


def _compress(content: RecordDict, kept: _Kept, down: Down, context: Context) -> None:
    """Put the encoded update in the place of a reply's model."""
    if len(content.array_records) != 1:
        raise ValueError(
            f"the app replied with {len(content.array_records)} ArrayRecords: "
            "hierfl.flower.onebit needs one, the model"
        )
    ((key, arrays),) = content.array_records.items()
    update = kept.tensors.flatten(arrays) - kept.reference
    if not np.isfinite(update).all():
        raise ValueError("the app replied with a model that is not finite")
    codec, name, state = codec_of(down.uplink, kept.tensors), f"{KEY}.residual", context.state
    if name in state and state.array_records[name]["x"].shape == (update.size,):
        update += state.array_records[name]["x"].numpy()
    residual = update.astype(np.float32)
    draws = generator(0, str(context.node_id), down.version, 0, "flower uplink")
    payload = encode(codec, residual, draws)
    if codec.contracts:  # without that a residual could grow without bound
        residual -= codec.decode(payload)
        state[name] = ArrayRecord({"x": Array(residual)})
    content[key] = kept.tensors.rest(arrays)
    content[KEY] = up_record(payload)
