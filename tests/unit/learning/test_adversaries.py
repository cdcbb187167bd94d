"""Devices that lie: what they make of the gradient that they found."""

from __future__ import annotations

import numpy as np
import pytest

from hierfl.config import load_config
from hierfl.errors import ConfigError
from hierfl.learning.loaded import load_data
from hierfl.learning.setup import make_trainer

SETS = ["model=mlp", "data.dataset=tests.system.tiny:load"]


def gradient(*faults: str) -> np.ndarray:
    config = load_config(None, [*SETS, *faults])
    trainer = make_trainer(config, "east-1", load_data(config))
    trainer.gradient(np.random.default_rng(3))
    return trainer.model.gradient.copy()


def test_lies_are_made_of_the_truth_or_of_noise() -> None:
    truth = gradient()
    assert truth.any()
    assert np.array_equal(gradient("faults.shout=[east-0]"), truth)
    assert np.array_equal(gradient("faults.sign_flip=[east-1]"), -truth)
    assert np.array_equal(gradient("faults.shout=[east-1]"), np.float32(-10) * truth)
    noise = gradient("faults.random_vote=[east-1]")
    assert abs(np.corrcoef(noise, truth)[0, 1]) < 0.2 and noise.std() == pytest.approx(1, abs=0.1)


def test_nobody_lies_in_two_ways() -> None:
    with pytest.raises(ConfigError, match="the same device 'east-0'"):
        load_config(None, ["faults.shout=[east-0]", "faults.sign_flip=[east-0]"])
