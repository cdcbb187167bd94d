"""Devices that add up in the air: the schedule, the noise, and that a run repeats itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierfl.algorithms.air_mean import AirMean, fading
from hierfl.algorithms.base import Step
from hierfl.algorithms.mean import WeightedMean
from hierfl.config import load_config
from hierfl.config.digest import digest
from hierfl.errors import ConfigError
from hierfl.numerics.layout import Layout
from hierfl.numerics.wireless import Air
from hierfl.planning.plan import resolve
from tests.federation.toy import toy

D = 4000
FLAT = Layout(("w",), ((D,),))
NOISELESS = math.inf


def at(step: int = 1, round_: int = 1) -> Step:
    return Step(7, "east", round_, step, np.float32(0.1))


def vectors(count: int, sizes: tuple[float, ...] = ()) -> list[np.ndarray]:
    drawn = np.random.default_rng(count).standard_normal((count, D), np.float32)
    return [np.float32(size) * x for size, x in zip(sizes or (1.0,) * count, drawn, strict=True)]


def received(air: Air, said: list[np.ndarray], step: Step, examples: list[int]) -> np.ndarray:
    mean = AirMean(air, FLAT, examples)
    for k in reversed(range(len(said))):  # the order of arrival means nothing
        mean.add(k, said[k].copy())
    return mean.take(step)


def exact(said: list[np.ndarray], examples: list[int]) -> np.ndarray:
    mean = WeightedMean(D, examples)
    for k, x in enumerate(said):
        mean.add(k, x)
    return mean.take(at())


@given(
    st.lists(
        st.tuples(st.floats(0.01, 5), st.just(0.0) | st.floats(1e-30, 1e6)),
        min_size=1, max_size=12, unique=True,
    ),
    st.integers(1, 14),
)  # fmt: skip
def test_the_rule_takes_those_who_would_make_most_noise(
    devices: list[tuple[float, float]], k: int
) -> None:
    gains, peaks = np.array(devices).T
    air = Air("analog-digital", digital=k)
    digital = air.schedule(gains, peaks)
    assert np.count_nonzero(digital) == min(k, len(devices))
    loss = peaks / gains  # the amplitude of the noise that a device alone would make
    if not digital.all():
        assert loss[digital].min() >= loss[~digital].max() * (1 - 1e-12)
        every = [np.ones(len(devices), bool)] + [
            np.arange(len(devices)) != i for i in range(len(devices))
        ]
        if k == 1:  # nobody else's silence would leave less noise
            left = air.noise(gains[~digital], peaks[~digital])
            assert all(left <= air.noise(gains[m], peaks[m]) * (1 + 1e-12) for m in every)
    assert not Air("analog").schedule(gains, peaks).any()
    assert Air("digital").schedule(gains, peaks).all()


def test_without_noise_analog_is_the_exact_mean() -> None:
    said, examples = vectors(5), [3, 1, 4, 1, 5]
    for step in range(1, 20):
        mean = received(Air("analog", NOISELESS, cutoff=0), said, at(step), examples)
        assert mean.tobytes() == exact(said, examples).tobytes()


def test_without_noise_who_fades_away_is_missing_from_the_mean() -> None:
    said, missing = vectors(3), 0
    for step in range(1, 40):
        gains = [fading(at(step), k) for k in range(3)]
        heard = [k for k in range(3) if gains[k] >= 0.7] or [int(np.argmax(gains))]
        mean = received(Air("analog", NOISELESS, cutoff=0.7), said, at(step), [2, 1, 1])
        expected = exact([said[k] for k in heard], [[2, 1, 1][k] for k in heard])
        np.testing.assert_allclose(mean, expected, rtol=1e-5, atol=1e-6)
        missing += 3 - len(heard)
    assert missing > 20


def test_the_noise_has_the_variance_that_snr_and_the_worst_device_set() -> None:
    """Computed from the definitions: amplitude, power and noise of each transmission."""
    said, examples = vectors(4, (1.0, 3.0, 0.2, 1.0)), [10, 20, 30, 40]
    for snr_db in (0.0, 10.0, 25.0):
        for step in (1, 2, 3):
            gains = np.array([fading(at(step), k) for k in range(4)])
            sent = [n / 100 * x.astype(np.float64) for n, x in zip(examples, said, strict=True)]
            amplitude = min(h / np.abs(x).max() for h, x in zip(gains, sent, strict=True))
            for h, x in zip(gains, sent, strict=True):
                assert np.abs(amplitude * x / h).max() <= 1 + 1e-9  # nobody exceeds the power 1
            variance = 10 ** (-snr_db / 10) / amplitude**2
            air = Air("analog", snr_db, cutoff=0)
            error = received(air, said, at(step), examples) - sum(sent)
            # The variance of D normal draws is within 6 deviations of what it should be.
            assert np.mean(error**2) == pytest.approx(variance, rel=6 * math.sqrt(2 / D))
            assert abs(np.mean(error)) < 6 * math.sqrt(variance / D)


def test_the_worst_device_gone_digital_leaves_less_noise() -> None:
    said, examples = vectors(5), [1] * 5
    ideal, errors = exact(said, examples), {}
    for kind in ("analog", "analog-digital", "digital"):
        air = Air(kind, 10.0, bits=8, cutoff=0)
        errors[kind] = np.median(
            [np.mean((received(air, said, at(s), examples) - ideal) ** 2) for s in range(1, 40)]
        )
    assert errors["digital"] < errors["analog-digital"] < 0.5 * errors["analog"]


def test_digital_devices_send_unbiased_bits() -> None:
    said, examples = vectors(3), [1, 1, 1]
    mean = np.zeros(D)
    for step in range(1, 201):
        mean += received(Air("digital", bits=4), said, at(step), examples) / 200
    level = np.abs(said).max() / 7
    assert np.abs(mean - exact(said, examples)).max() < 6 * level / 2 / math.sqrt(3 * 200)


def test_fading_is_rayleigh_and_anew_for_each_device_and_step() -> None:
    gains = np.array([fading(at(s), k) for s in range(1, 401) for k in range(5)])
    assert np.unique(gains).size == gains.size
    assert np.mean(gains**2) == pytest.approx(1, abs=0.1)
    assert np.mean(gains < math.sqrt(math.log(2))) == pytest.approx(0.5, abs=0.06)
    assert fading(at(3), 1) == fading(at(3), 1) != fading(at(3, round_=2), 1)


AIR = ["runtime=memory", "algorithm.name=hier-sgd", "algorithm.lr=0.3", "algorithm.rounds=4"]


@pytest.mark.parametrize("kind", ["analog-digital", "analog", "digital"])
def test_a_federation_learns_through_the_air_and_repeats_itself(kind: str) -> None:
    bases = []
    for _ in range(2):
        federation = toy([*AIR, f"channel={{kind: {kind}}}"])
        start = np.abs(federation.strategy.base - 0.5).mean()
        federation.run()
        bases.append(federation.strategy.base.tobytes())
        assert np.abs(federation.strategy.base - 0.5).mean() < 0.6 * start
        final = {device.replica.base.tobytes() for device in federation.devices.values()}
        assert final == {bases[0]}


def test_all_kinds_and_none_are_other_runs() -> None:
    bases = set()
    for channel in ("null", "{kind: analog}", "{kind: digital}", "{kind: analog-digital}",
                    "{kind: analog-digital, digital: 2}", "{kind: analog, snr_db: 9}"):  # fmt: skip
        federation = toy([*AIR, "algorithm.rounds=1", f"channel={channel}"])
        federation.run()
        bases.add(federation.strategy.base.tobytes())
    assert len(bases) == 6


@pytest.mark.parametrize(
    ("sets", "path", "why"),
    [
        (["runtime=process"], "channel", "each ballot travels by itself"),
        (["algorithm.name=hier-signsgd", "algorithm.lr=0.01"], "channel", "not average vectors"),
        (["algorithm.name=hier-qsgd"], "channel", "not average vectors"),
        (["channel.kind=analogue"], "channel.kind", "'analog-digital', 'analog' or 'digital'"),
        (["channel.bits=4"], "channel.bits", "belongs to kind: analog-digital or digital"),
        (["channel.digital=2"], "channel.digital", "belongs to kind: analog-digital"),
        (["channel={kind: digital, snr_db: 3}"], "channel.snr_db", "not to digital"),
        (["channel.snr=3"], "channel.snr", "did you mean channel.snr_db"),
    ],
)
def test_what_makes_no_sense_is_refused(sets: list[str], path: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        resolve(load_config(None, [*AIR, "channel={kind: analog}", *sets]))
    assert caught.value.path == path


def test_nodes_must_agree_on_the_channel() -> None:
    made = [
        digest(resolve(load_config(None, [*AIR, f"channel={{kind: analog, snr_db: {snr}}}"])))
        for snr in (3, 4)
    ]
    assert made[0] != made[1]
