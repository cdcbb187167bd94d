from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierfl.errors import ConfigError
from hierfl.learning.partition import partition

trees = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(
    lambda counts: {f"edge{e}": [f"edge{e}-{k}" for k in range(n)] for e, n in enumerate(counts)}
)
seeds = st.integers(0, 2**40)


def balanced(n: int, classes: int = 10) -> np.ndarray:
    return np.arange(n) % classes


def assert_exact_cover(shares: dict[str, np.ndarray], tree: dict[str, list[str]], n: int) -> None:
    assert list(shares) == [device for names in tree.values() for device in names]
    assert all(share.dtype == np.int64 for share in shares.values())
    assert all((np.diff(share) > 0).all() for share in shares.values())
    assert np.array_equal(np.sort(np.concatenate(list(shares.values()))), np.arange(n))


@given(trees, st.integers(16, 300), seeds)
def test_iid_covers_every_sample_once_in_even_shares(tree, n, seed):
    shares = partition(balanced(n), tree, "iid", seed=seed)
    assert_exact_cover(shares, tree, n)
    sizes = [share.size for share in shares.values()]
    assert max(sizes) - min(sizes) <= 1


@given(trees, st.floats(0.05, 100), seeds)
def test_dirichlet_covers_every_sample_once_or_names_who_gets_none(tree, alpha, seed):
    labels = balanced(500)
    try:
        shares = partition(labels, tree, "dirichlet", alpha=alpha, seed=seed)
    except ConfigError as error:
        assert error.path == "data.partition"
        assert any(device in str(error) for names in tree.values() for device in names)
    else:
        assert_exact_cover(shares, tree, labels.size)


def label_skew(alpha: float) -> float:
    """Mean total variation distance between a device's labels and everybody's."""
    labels = balanced(20_000)
    tree = {"a": list("bcdef"), "g": list("hijkl")}
    shares = partition(labels, tree, "dirichlet", alpha=alpha, seed=3)
    histograms = [np.bincount(labels[s], minlength=10) / s.size for s in shares.values()]
    return float(np.mean([np.abs(h - 0.1).sum() / 2 for h in histograms]))


def test_dirichlet_skews_labels_the_more_the_smaller_alpha():
    skews = [label_skew(alpha) for alpha in (0.1, 1.0, 10.0, 1000.0)]
    assert skews == sorted(skews, reverse=True)
    assert skews[0] > 0.5 and skews[-1] < 0.03


def test_dirichlet_differs_between_devices_of_one_edge():
    labels = balanced(20_000)
    shares = partition(labels, {"a": ["b", "c"]}, "dirichlet", alpha=0.3, seed=1)
    first, second = (np.bincount(labels[s], minlength=10) / s.size for s in shares.values())
    assert np.abs(first - second).sum() > 0.5


def test_dirichlet_within_edges_leaves_edges_alike():
    labels = balanced(20_000)
    tree = {"a": ["b", "c", "d"], "e": ["f"], "g": ["h", "i", "j", "k"]}
    shares = partition(labels, tree, "dirichlet", alpha=0.3, within="edge", seed=2)
    assert_exact_cover(shares, tree, labels.size)
    for names in tree.values():
        held = np.concatenate([shares[name] for name in names])
        assert held.size == 2500 * len(names)
        assert np.abs(np.bincount(labels[held], minlength=10) / held.size - 0.1).max() < 0.02
    first, second = (np.bincount(labels[shares[d]], minlength=10) / shares[d].size for d in "bc")
    assert np.abs(first - second).sum() > 0.5


@given(trees, seeds)
def test_disjoint_edges_share_no_class_and_have_equally_many(tree, seed):
    labels = balanced(1000)
    shares = partition(labels, tree, "disjoint", seed=seed)
    assert_exact_cover(shares, tree, labels.size)
    held = [set(labels[np.concatenate([shares[d] for d in names])]) for names in tree.values()]
    counts = [len(classes) for classes in held]
    assert sum(counts) == 10 and max(counts) - min(counts) <= 1


@given(trees, st.integers(1, 10), seeds)
def test_shards_give_each_edge_its_own_classes(tree, classes, seed):
    labels = balanced(1000)
    if classes * len(tree) < 10:
        with pytest.raises(ConfigError, match="cannot share out 10 classes"):
            partition(labels, tree, "shards", classes=classes, seed=seed)
        return
    shares = partition(labels, tree, "shards", classes=classes, seed=seed)
    assert_exact_cover(shares, tree, labels.size)
    for names in tree.values():
        held = np.concatenate([shares[name] for name in names])
        assert np.unique(labels[held]).size == classes
        sizes = [shares[name].size for name in names]
        assert max(sizes) - min(sizes) <= 1


@given(seeds)
def test_edges_with_a_class_in_common_divide_it_evenly(seed):
    labels = balanced(999, classes=3)
    tree = {"a": ["a0"], "b": ["b0"]}
    shares = partition(labels, tree, "shards", classes=2, seed=seed)
    counts = np.array([np.bincount(labels[s], minlength=3) for s in shares.values()])
    assert sorted(counts.max(axis=0)) == [167, 333, 333]
    assert sorted(counts.min(axis=0)) == [0, 0, 166]


def test_devices_of_an_edge_are_iid_under_shards():
    labels = balanced(20_000)
    tree = {"a": ["a0", "a1"], "b": ["b0", "b1"]}
    shares = partition(labels, tree, "shards", classes=5, seed=0)
    first, second = (np.bincount(labels[shares[d]], minlength=10) / 5000 for d in tree["a"])
    assert np.abs(first - second).max() < 0.03


@pytest.mark.parametrize("kind", ["iid", "dirichlet", "shards", "disjoint"])
def test_same_seed_same_shares_and_another_seed_others(kind):
    tree = {"a": ["a0", "a1", "a2"], "b": ["b0", "b1"]}
    one, same, other = (
        partition(balanced(2000), tree, kind, alpha=1.0, classes=5, seed=s) for s in (4, 4, 5)
    )
    assert all(np.array_equal(one[d], same[d]) for d in one)
    assert not all(np.array_equal(one[d], other[d]) for d in one)


def test_more_devices_than_samples_names_one_without():
    with pytest.raises(ConfigError, match=r"data\.partition: iid leaves a2 without samples"):
        partition(balanced(2), {"a": ["a0", "a1", "a2"]}, "iid", seed=0)


def test_more_edges_than_classes_name_a_device_without():
    tree = {name: [f"{name}0"] for name in "abc"}
    with pytest.raises(ConfigError, match=r"data\.partition: disjoint leaves c0 without samples"):
        partition(balanced(100, classes=2), tree, "disjoint", seed=0)


def test_more_classes_per_edge_than_there_are():
    with pytest.raises(ConfigError, match=r"partition\.classes"):
        partition(balanced(100), {"a": ["a0"]}, "shards", classes=11, seed=0)
