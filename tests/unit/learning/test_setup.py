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
from hierfl.learning.loaded import held_out, load_data, node_of, share_out
from hierfl.learning.samples import Tensors
from hierfl.learning.setup import make_trainer


def numbered(n: int) -> Tensors:
    """Samples that are their own numbers, so that each is known again."""
    return Tensors((torch.arange(n, dtype=torch.float32)[:, None], torch.arange(n)))


def hold_out(n: int, share: float, seed: int) -> tuple[Tensors, Tensors]:
    config = load_config(None, [f"data.validation={share}", f"seed={seed}"])
    return held_out(config, node_of(config, "cloud"), numbered(n))


@given(st.integers(2, 300), st.floats(0.01, 0.99), st.integers(0, 2**40))
def test_what_is_held_out_and_what_is_left_are_the_training_set(n, share, seed):
    if not 0 < round(n * share) < n:
        with pytest.raises(DataError, match="cannot be held out"):
            hold_out(n, share, seed)
        return
    train, test = hold_out(n, share, seed)
    assert len(test) == round(n * share)
    both = torch.cat([train.tensors[1], test.tensors[1]])
    assert torch.equal(both.sort().values, torch.arange(n))
    assert torch.equal(test.tensors[0][:, 0].long(), test.tensors[1])
    assert torch.equal(hold_out(n, share, seed)[1].tensors[1], test.tensors[1])


def test_another_seed_holds_out_others():
    one, other = (hold_out(1000, 0.1, seed)[1].tensors[1] for seed in (1, 2))
    assert len(np.intersect1d(one, other)) < 30


def test_the_test_set_is_out_of_sight_where_there_is_a_validation_set():
    whole = load_data(load_config(None, ["data.dataset=digits"]))
    config = load_config(None, ["data.dataset=digits", "data.validation=0.1"])
    data = load_data(config)
    assert (len(data.train), len(data.test)) == (1438 - 144, 144)
    seen = {tuple(image) for image in data.test.tensors[0].flatten(1).tolist()}
    assert not seen & {tuple(image) for image in whole.test.tensors[0].flatten(1).tolist()}
    assert seen < {tuple(image) for image in whole.train.tensors[0].flatten(1).tolist()}
    shares = share_out(config, data)
    assert sum(map(len, shares.values())) == 1438 - 144
    trainer = make_trainer(config, "west-1", data)
    labels = trainer.samples.batch(slice(None))[1]
    assert torch.equal(labels, data.train.tensors[1][shares["west-1"]])


@pytest.mark.parametrize("kind", ["{kind: iid}", "{kind: dirichlet}", "{kind: shards, classes: 5}"])
def test_a_device_that_moves_keeps_its_data(kind):
    digits = ["data.dataset=digits", f"data.partition={kind}"]
    moved = [
        "edges=[{name: east, devices: [west-1, east-2, west-2]}, "
        "{name: west, devices: [east-0, west-0, east-1]}]",
    ]
    homes = ["data.homes={a: [east-0, east-1, east-2], b: [west-0, west-1, west-2]}"]
    before, after, lost = (
        share_out(config, load_data(config))
        for sets in ([], moved + homes, moved)
        for config in [load_config(None, [*digits, *sets])]
    )
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert not all(np.array_equal(before[name], lost[name]) for name in before)


def test_homes_can_be_told_to_flower() -> None:
    nodes = {"edges": [{"name": "east", "devices": ["b"]}, {"name": "west", "devices": ["a"]}]}
    told = {"data.homes": "{x: [a], y: [b]}", "data.validation": 0.2, "data.root": ""}
    data = topology(told, nodes).data
    assert (data.homes, data.validation) == ({"x": ("a",), "y": ("b",)}, 0.2)
