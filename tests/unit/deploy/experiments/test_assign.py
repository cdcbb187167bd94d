"""Devices and edges matched: what always holds, and that it is good for something."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deploy.experiments.assign import survey
from deploy.experiments.assignment import Devices, Places, divergence, match, outvoted
from hierfl.config import load_config
from hierfl.learning.loaded import load_data, share_out
from hierfl.learning.survey import labels_of
from tests.unit.conftest import Run

INTER = """
model: mlp
runtime: memory
data: {dataset: digits, partition: {kind: shards, classes: 5}}
algorithm: {edge_steps: 20, rounds: 3}
edges: [{name: east, devices: 3, address: "127.0.0.1:4701"}, {name: west, devices: 3, capacity: 4}]
reach: {east-0: [east]}
"""


def mean(devices: Devices, places: Places) -> float:
    """The weighted mean of the divergences, by another formula: H(edge) + H(class) - H(both)."""
    joint = devices.held(places) / devices.histograms.sum()

    def entropy(shares: np.ndarray) -> float:
        shares = shares[shares > 0]
        return float(-(shares * np.log(shares)).sum())

    return entropy(joint.sum(1)) + entropy(joint.sum(0)) - entropy(joint.ravel())


@st.composite
def federations(draw: st.DrawFn) -> tuple[Devices, Places]:
    edges = draw(st.integers(1, 4))
    extra = draw(st.integers(0, 6))
    places = np.array([*range(edges), *(draw(st.integers(0, edges - 1)) for _ in range(extra))])
    n, classes = places.size, draw(st.integers(1, 5))
    seed = draw(st.integers(0, 2**32))
    generator = np.random.default_rng(seed)
    histograms = generator.integers(0, 30, (n, classes)) * generator.integers(0, 2, (n, classes))
    histograms[:, 0] += 1
    histograms[0] += 1
    reach = generator.random((n, edges)) < draw(st.sampled_from([0.3, 0.8, 1.0]))
    reach[np.arange(n), places] = True
    capacity = np.bincount(places, minlength=edges) + generator.integers(0, 4, edges)
    return Devices(histograms, reach, capacity), places


@given(federations())
def test_divergence_never_grows_and_capacities_and_reach_hold(
    given_: tuple[Devices, Places],
) -> None:
    devices, before = given_
    after = match(devices, before)
    assert mean(devices, after) <= mean(devices, before) + 1e-9
    numbers = np.bincount(after, minlength=devices.capacity.size)
    assert (numbers >= 1).all()
    assert (numbers <= devices.capacity).all()
    assert devices.reach[np.arange(after.size), after].all()
    assert np.array_equal(match(devices, after), after)
    for one, other in permutations(range(after.size), 2):
        swapped = after.copy()
        swapped[[one, other]] = after[[other, one]]
        if devices.reach[np.arange(after.size), swapped].all():
            assert mean(devices, swapped) >= mean(devices, after) - 1e-8
    for one, edge in np.ndindex(devices.reach.shape):
        has_room = numbers[edge] < devices.capacity[edge]
        if devices.reach[one, edge] and has_room and numbers[after[one]] > 1:
            went = after.copy()
            went[one] = edge
            assert mean(devices, went) >= mean(devices, after) - 1e-8


@given(federations())
def test_divergences_add_up_to_mutual_information(given_: tuple[Devices, Places]) -> None:
    devices, places = given_
    held = devices.held(places)
    each = divergence(held)
    assert (each >= -1e-12).all()
    assert np.average(each, weights=held.sum(axis=1)) == pytest.approx(mean(devices, places))


@pytest.mark.parametrize("edges", [2, 3, 5])
def test_devices_of_one_class_each_end_up_at_edges_that_have_all(edges: int) -> None:
    places = np.repeat(np.arange(edges), edges)
    histograms = np.eye(edges, dtype=np.int64)[places] * 7
    everywhere = np.ones((edges**2, edges), bool)
    devices = Devices(histograms, everywhere, np.full(edges, edges))
    assert divergence(devices.held(places)) == pytest.approx(np.log(edges))
    assert divergence(devices.held(match(devices, places))) == pytest.approx(0)


def test_classes_that_most_devices_of_an_edge_lack_are_counted() -> None:
    histograms = np.array([[5, 0, 1], [5, 0, 0], [0, 4, 5], [0, 3, 2]])
    devices = Devices(histograms, np.ones((4, 2), bool), np.array([2, 2]))
    assert outvoted(devices, np.array([0, 0, 1, 1])) == 0  # half of them is no minority
    devices = Devices(histograms, np.ones((4, 2), bool), np.array([3, 1]))
    assert outvoted(devices, np.array([0, 0, 0, 1])) == 4 / 25


@pytest.fixture
def inter(tmp_path: Path) -> Path:
    file = tmp_path / "inter.yaml"
    file.write_text(INTER)
    return file


def test_the_new_topology_is_the_old_one_but_for_its_edges(hierfl: Run, inter: Path) -> None:
    code, out, err = hierfl("assign", inter, "--out", "new.yaml", "--set", "seed=3")
    assert (code, err) == (0, "")
    old, new = load_config(inter, ["seed=3"]), load_config(Path("new.yaml"))
    assert new.data.homes == old.tree()
    assert new.parent_of("east-0") == "east"
    assert sorted(sum(new.tree().values(), ())) == sorted(sum(old.tree().values(), ()))
    assert new.tree() != old.tree()
    changed = {"data": old.data, "edges": old.edges}
    assert new.model_copy(update=changed) == old
    for edge in old.edges:
        assert new.edge(edge.name).model_copy(update={"devices": edge.devices}) == edge
    data = load_data(old)
    shares, again = share_out(old, data), share_out(new, data)
    assert all(np.array_equal(shares[name], again[name]) for name in shares)

    # The words are those of an independent count, by the labels' names.
    labels = labels_of(data.held())
    total = np.bincount(labels, minlength=10) / labels.size
    for tree, column in ((old.tree(), 0), (new.tree(), 1)):
        for name, devices in tree.items():
            held = labels[np.concatenate([shares[device] for device in devices])]
            p = np.bincount(held, minlength=10) / held.size
            kl = sum(a * np.log(a / b) for a, b in zip(p, total, strict=True) if a)
            shown = next(line for line in out.splitlines() if line.startswith(name))
            assert shown.split()[2:][2 * column] == f"{kl:.4f}"

    assert "lack: 0% -> 0%" in out
    assert "compare runs" not in out
    refused = hierfl("assign", inter, "--out", "new.yaml")
    assert (refused.code, "new.yaml exists already" in refused.err) == (2, True)


def test_it_is_shown_where_no_file_is_named(hierfl: Run, inter: Path, tmp_path: Path) -> None:
    code, out, err = hierfl("assign", inter)
    assert code == 0
    assert "moved" in err
    shown = tmp_path / "shown.yaml"
    shown.write_text(out)
    assert "capacity: 4" in out
    again = hierfl("assign", shown)  # the best is not made better
    assert "0 devices moved" in again.err
    assert yaml.safe_load(again.out) == yaml.safe_load(out)


def test_what_is_known_of_the_devices(inter: Path) -> None:
    devices, places = survey(load_config(inter))
    assert places.tolist() == [0, 0, 0, 1, 1, 1]
    assert devices.capacity.tolist() == [3, 4]
    assert devices.reach.tolist() == [[True, False], *[[True, True]] * 5]
    assert devices.histograms.sum() == 1438
    assert ((devices.histograms > 0).sum(axis=1) == 5).all()


def test_votes_of_edges_that_see_all_classes_learn_more(hierfl: Run, inter: Path) -> None:
    sets = ["--set", "reach={}", "--set", "edges.west.capacity="]
    gained = []
    for seed in (1, 2):
        seeded = [*sets, "--set", f"seed={seed}"]
        said = hierfl("assign", inter, *seeded, "--out", f"new-{seed}.yaml").out
        assert "(one-bit votes may learn such classes worse" in said
        assert hierfl("run", inter, *seeded, "--out", f"old-{seed}").code == 0
        assert hierfl("run", f"new-{seed}.yaml", "--out", f"new-{seed}").code == 0
        before, after = (
            json.loads(Path(f"{which}-{seed}/summary.json").read_text())["accuracy"]
            for which in ("old", "new")
        )
        gained.append(after - before)
    assert np.mean(gained) > 0.02
