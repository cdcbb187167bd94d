"""What a configuration says of the data: what is held out, and who has what."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deploy.flower.settings import topology
from hierfl.config import load_config
from hierfl.errors import DataError
from hierfl.learning.dataset import Data, Split
from hierfl.learning.datasets import load_dataset
from hierfl.learning.setup import load_data, make_trainer, share_out


def numbered(n: int) -> Data:
    """Samples that are their own numbers, so that each is known again."""
    one, zero = torch.ones(1), torch.zeros(1)
    train = Split(torch.arange(n, dtype=torch.float32)[:, None], torch.arange(n), zero, one)
    test = Split(torch.full((2, 1), -1.0), torch.tensor([0, 1]), zero, one)
    return Data(train, test, n, (1,))


@given(st.integers(2, 300), st.floats(0.01, 0.99), st.integers(0, 2**40))
def test_what_is_held_out_and_what_is_left_are_the_training_set(n, share, seed):
    data = numbered(n)
    if not 0 < round(n * share) < n:
        with pytest.raises(DataError, match="cannot be held out"):
            data.hold_out(share, seed)
        return
    held = data.hold_out(share, seed)
    assert len(held.test) == round(n * share)
    both = torch.cat([held.train.labels, held.test.labels])
    assert torch.equal(both.sort().values, data.train.labels)
    assert torch.equal(held.test.inputs[:, 0].long(), held.test.labels)
    assert torch.equal(data.hold_out(share, seed).test.labels, held.test.labels)


def test_another_seed_holds_out_others():
    one, other = (numbered(1000).hold_out(0.1, seed).test.labels for seed in (1, 2))
    assert len(np.intersect1d(one, other)) < 30


def test_the_test_set_is_out_of_sight_where_there_is_a_validation_set():
    whole = load_dataset("digits")
    config = load_config(None, ["data.dataset=digits", "data.validation=0.1"])
    data = load_data(config)
    assert (len(data.train), len(data.test)) == (1438 - 144, 144)
    seen = {tuple(image) for image in data.test.inputs.flatten(1).tolist()}
    assert not seen & {tuple(image) for image in whole.test.inputs.flatten(1).tolist()}
    assert seen < {tuple(image) for image in whole.train.inputs.flatten(1).tolist()}
    shares = share_out(config, data)
    assert sum(map(len, shares.values())) == 1438 - 144
    trainer = make_trainer(config, "west-1", data)
    assert torch.equal(trainer.split.labels, data.train.labels[shares["west-1"]])


@pytest.mark.parametrize("kind", ["{kind: iid}", "{kind: dirichlet}", "{kind: shards, classes: 5}"])
def test_a_device_that_moves_keeps_its_data(kind):
    digits = ["data.dataset=digits", f"data.partition={kind}"]
    moved = [
        "edges=[{name: east, devices: [west-1, east-2, west-2]}, "
        "{name: west, devices: [east-0, west-0, east-1]}]",
    ]
    homes = ["data.homes={a: [east-0, east-1, east-2], b: [west-0, west-1, west-2]}"]
    before, after, lost = (
        share_out(load_config(None, [*digits, *sets]), load_dataset("digits"))
        for sets in ([], moved + homes, moved)
    )
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert not all(np.array_equal(before[name], lost[name]) for name in before)


def test_homes_can_be_told_to_flower() -> None:
    nodes = {"edges": [{"name": "east", "devices": ["b"]}, {"name": "west", "devices": ["a"]}]}
    told = {"data.homes": "{x: [a], y: [b]}", "data.validation": 0.2, "data.root": ""}
    data = topology(told, nodes).data
    assert (data.homes, data.validation) == ({"x": ("a",), "y": ("b",)}, 0.2)
