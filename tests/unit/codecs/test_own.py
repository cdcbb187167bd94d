"""A codec of the user's own: named in a topology, checked, and used as one of hierfl's."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cloud.views.base import View
from deploy.launcher.in_process import run_memory
from examples.own.codec import LARGEST, Half
from hierfl.codecs import CODECS, RandomizedCodec, make_codec
from hierfl.config import load_config
from hierfl.errors import ConfigError, PayloadError
from hierfl.planning.plan import resolve
from tests.federation.toy import LAYOUT, toy
from tests.unit.codecs.samples import flat, round_trip
from tests.unit.conftest import Run

HALF = "examples.own.codec:Half"
TINY = ["data.dataset=digits", "model=mlp", "algorithm.rounds=2", "algorithm.edge_steps=3"]

SOUND = """
import numpy as np
import hierfl
from hierfl.codecs import payload_checks

class Sound:
    name, contracts, unbiased = "sound", True, True

    def __init__(self, layout, bits=8):
        self.d = layout.d

    def encode(self, x):
        return x.astype("<f4").tobytes()

    def decode(self, payload):
        return payload_checks.floats(payload_checks.exactly(payload, 4 * self.d, "sound"), "value")

    def sizes(self):
        return hierfl.PayloadSizes.exactly(4 * self.d)

class Drawn(hierfl.RandomizedCodec):
    name, contracts, unbiased = "drawn", True, True

    def __init__(self, layout):
        self.d = layout.d

    def encode(self, x, generator):
        return generator.bytes(1) + x.astype("<f4").tobytes()

    def decode(self, payload):
        return np.frombuffer(payload, "<f4", offset=1).copy()

    def sizes(self):
        return hierfl.PayloadSizes.exactly(1 + 4 * self.d)

def made(layout, fraction=0.5):
    return Sound(layout)
"""

BROKEN = """
class Nothing:
    def __init__(self, layout): pass

class Unnamed(Sound):
    name = None

class NoFacts(Sound):
    def __init__(self, layout):
        super().__init__(layout)
    def __getattribute__(self, name):
        if name in ("contracts", "unbiased"):
            raise AttributeError(name)
        return super().__getattribute__(name)

class Abstract(hierfl.Codec):
    name, contracts, unbiased = "abstract", True, False
    def __init__(self, layout): pass
    def encode(self, x): return b""

class Maybe(Sound):
    contracts = "yes"

class Lengths(Sound):
    def sizes(self): return 4 * self.d, 4 * self.d

class Draws(Sound):
    def encode(self, x, generator): return b""

class Still(hierfl.RandomizedCodec, Sound):
    def encode(self, x): return b""
    decode, sizes = Sound.decode, Sound.sizes

class Text(Sound):
    def encode(self, x): return "text"

class Long(Sound):
    def encode(self, x): return super().encode(x) + b"-"

class Double(Sound):
    def decode(self, payload): return super().decode(payload).astype("f8")

class Listed(Sound):
    def decode(self, payload): return [1.0] * self.d

class Growing(Sound):
    contracts = False

class Biased(Sound):
    unbiased = False

number = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module that holds SOUND and BROKEN."""
    name = f"own_codecs_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(SOUND + BROKEN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("attribute", "why"),
    [
        ("Nothing", "Nothing has no encode and no decode and no sizes"),
        ("Abstract", "Abstract has no decode and no sizes"),
        ("NoFacts", "NoFacts has no contracts and no unbiased"),
        ("Unnamed", "a name of None, which is no str"),
        ("Maybe", "a contracts of 'yes', which is no bool"),
        ("Lengths", r"sizes\(\) that returned \(32, 32\)"),
        ("Draws", r"has encode\(x, generator\), expected encode\(x\)"),
        ("Still", r"has encode\(x\), expected encode\(x, generator\)"),
        ("Text", "encode returned a str, expected bytes"),
        ("Long", r"encode returned 33 bytes, where sizes\(\) says 32 to 32"),
        ("Double", r"decode returned float64\[8\], expected a finite float32\[8\]"),
        ("Listed", "decode returned a list"),
        ("Growing", "the residual that is kept on this hop would grow"),
        ("Missing", "has no attribute 'Missing'"),
        ("number", "is no class of a codec"),
    ],
)
def test_what_is_no_codec_is_refused_and_what_it_lacks_is_named(
    own: str, attribute: str, why: str
) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        resolve(load_config(None, [f"downlink.codec={own}:{attribute}"]))
    assert caught.value.path == "downlink.codec"
    assert caught.value.exit_code == 2


def test_its_parameters_are_those_of_its_constructor(own: str) -> None:
    resolve(load_config(None, [f"downlink.codec={own}:Sound", "downlink.bits=5"]))
    resolve(load_config(None, [f"downlink.codec={own}:made", "downlink.fraction=0.5"]))
    with pytest.raises(ConfigError, match="has no such parameter") as caught:
        resolve(load_config(None, [f"downlink.codec={own}:Sound", "downlink.fraction=0.5"]))
    assert caught.value.path == "downlink.fraction"


def test_what_an_algorithm_s_reports_need_holds_for_it_too(own: str) -> None:
    for algorithm, codec, why in (
        ("hier-signsgd", "Sound", "counts of votes"),
        ("hier-qsgd", "Biased", "keep no residual, and this codec is biased"),
        ("hier-sgd", "Growing", "would grow"),
    ):
        sets = [f"algorithm.name={algorithm}", f"uplink.codec={own}:{codec}"]
        with pytest.raises(ConfigError, match=why) as caught:
            resolve(load_config(None, sets))
        assert caught.value.path == "uplink.codec"
    resolve(load_config(None, ["algorithm.name=hier-qsgd", f"uplink.codec={own}:Sound"]))


@pytest.mark.parametrize("codec", ["Sound", "Drawn"])
def test_an_exact_codec_of_ones_own_is_float32(own: str, codec: str) -> None:
    bases = set()
    for name in ("float32", f"{own}:{codec}"):
        sets = ["algorithm.name=hier-sgd", f"downlink.codec={name}", f"uplink.codec={name}"]
        federation = toy(sets)
        federation.run()
        bases.add(federation.strategy.base.tobytes())
        sent = federation.grid.ledger.traffic()
    assert len(bases) == 1
    report = 4 * LAYOUT.d + (codec == "Drawn")
    assert sent.up.payload == 3 * 2 * report  # rounds, edges


def test_only_who_draws_is_handed_a_generator() -> None:
    draws = {name for name, codec in CODECS.items() if issubclass(codec, RandomizedCodec)}
    assert draws == {"drive", "qsgd", "random-k"}
    for name in CODECS.keys() - draws:
        with pytest.raises(TypeError):
            make_codec(name, flat(8)).encode(np.ones(8, np.float32), np.random.default_rng(0))  # type: ignore[call-arg]


# -- the example ----------------------------------------------------------------------------------


def test_the_example_rounds_to_half_precision() -> None:
    codec = make_codec(HALF, flat(5))
    assert isinstance(codec, Half)
    x = np.array([1, -0.1, 1e9, -1e-9, 3.14159], np.float32)
    again = round_trip(codec, x)
    np.testing.assert_allclose(again[[0, 1, 4]], x[[0, 1, 4]], rtol=2**-11)
    assert again[2] == LARGEST and abs(again[3]) < 1e-7
    with pytest.raises(PayloadError):
        codec.decode(b"\x00\x7c" * 5)  # infinities
    with pytest.raises(PayloadError):
        codec.decode(b"\0" * 9)


def test_the_example_runs(tmp_path: Path) -> None:
    config = resolve(load_config(None, ["runtime=memory", *TINY, f"downlink.codec={HALF}"]))
    run_memory(config, tmp_path, View())
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (
        summary["bytes"]["edge_down"]
        == 2 * 4 * summary["parameters"] + 2 * 2 * 2 * summary["parameters"]
    )  # the model once, and two changes, to two edges


def test_the_example_is_compared(hierfl: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3]))
    sets = [part for key in (*TINY, f"downlink.codec={HALF}") for part in ("--set", key)]
    code, out, err = hierfl(
        "compare", "--algorithms", "hier-signsgd,hier-sgd", "--splits", "iid", "--seeds", "1",
        "--out", "out", *sets,
    )  # fmt: skip
    assert (code, err) == (0, ""), out
    assert "2/2  hier-sgd, iid, seed 1: " in out
    assert HALF in Path("out/hier-sgd-iid-1/config.yaml").read_text()
