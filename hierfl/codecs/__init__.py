"""Codecs, one file each: a float32 vector to bytes and back.

A payload carries neither its codec nor its length in coordinates: both ends know them. What a
decoder computes is exact or one exactly rounded float32 operation after another, so that every
processor decodes a payload to the same bits.
"""

from hierfl.codecs.base import AnyCodec, Codec, PayloadSizes, RandomizedCodec, encode
from hierfl.codecs.drive import Drive
from hierfl.codecs.factored_sign import FactoredSign
from hierfl.codecs.float32 import Float32
from hierfl.codecs.qsgd import Qsgd
from hierfl.codecs.randomk import RandomK
from hierfl.codecs.registry import CODECS, make_codec, try_codec
from hierfl.codecs.rounding import Rounding
from hierfl.codecs.sign import Sign
from hierfl.codecs.ternary import Ternary
from hierfl.codecs.topk import TopK
from hierfl.codecs.topk2bit import TopKTwoBit
from hierfl.codecs.topksign import TopKSign

__all__ = [
    "CODECS",
    "AnyCodec",
    "Codec",
    "Drive",
    "FactoredSign",
    "Float32",
    "PayloadSizes",
    "Qsgd",
    "RandomK",
    "RandomizedCodec",
    "Rounding",
    "Sign",
    "Ternary",
    "TopK",
    "TopKSign",
    "TopKTwoBit",
    "encode",
    "make_codec",
    "try_codec",
]
