"""The fingerprint of what nodes agree on: it holds the tree, and a difference has a name."""

from __future__ import annotations

import pytest

from hierfl.config import Config, load_config
from hierfl.config.digest import Digest, agreed, digest, explain
from hierfl.link import frames
from hierfl.link import link_pb2 as pb
from hierfl.link.admission import Admission, Refusal
from hierfl.planning.plan import resolve

EDGES = "edges=[{name: east, devices: [a, b]}, {name: west, devices: [c]}]"


def config(*sets: str) -> Config:
    return resolve(load_config(None, [EDGES, *sets]))


@pytest.mark.parametrize(
    ("sets", "keys"),
    [
        (["seed=2"], ("seed",)),
        (["algorithm.lr=0.5", "algorithm.tie=zero"], ("algorithm.lr", "algorithm.tie")),
        (["algorithm.name=sparse-signsgd", "algorithm.lr=0.002", "algorithm.options.fraction=0.2"],
         ("algorithm.name", "algorithm.options", "algorithm.options.fraction")),
        (["downlink.codec=ternary"], ("downlink.codec",)),
        (["data.partition={kind: dirichlet}"],
         ("data.partition.alpha", "data.partition.kind", "data.partition.within")),
        (["edges.0.devices=[a, x]"], ("edges.east",)),
        (["edges.0.devices=[b, a]"], ("edges.east",)),
        (["edges.1.name=south"], ("edges", "edges.south", "edges.west")),
        (["edges=[{name: west, devices: [c]}, {name: east, devices: [a, b]}]"], ("edges",)),
    ],
)  # fmt: skip
def test_keys_that_differ_are_named(sets: list[str], keys: tuple[str, ...]) -> None:
    one, other = digest(config("model=mlp")), digest(config("model=mlp", *sets))
    if "algorithm.name=sparse-signsgd" in sets:  # whose own rate is another
        keys = tuple(sorted({*keys, "algorithm.lr"}))
    assert one.differing(other) == other.differing(one) == keys
    assert one.hex != other.hex and one.to_text() != other.to_text()
    assert explain(other.to_text(), one.to_text())


@pytest.mark.parametrize(
    "key",
    ["cloud.address='127.0.0.1:9'", "edges.0.address='127.0.0.1:9'", "data.root=/tmp", "name=other",
     "quorum.devices=0.5", "restart=always"],
)  # fmt: skip
def test_where_nodes_are_and_how_long_they_wait_is_their_own(key: str) -> None:
    assert digest(config()) == digest(config(key))
    assert digest(config()).hex == digest(config(key)).hex


def test_text_and_back() -> None:
    made = digest(config())
    assert Digest.from_text(made.to_text()) == made
    assert made.keys.keys() == agreed(config()).keys()
    for text in ("", "plan", "[]", "3", '{"seed": 3}', "[" * 100_000):
        assert Digest.from_text(text) is None
        assert explain(text, made.to_text()) == ""


def test_an_explanation_names_a_few_keys_and_none_that_the_peer_made_up() -> None:
    ours = Digest({f"key{n}": "1" for n in range(10)})
    theirs = Digest({"<script>": "1", "key0": "1"})
    assert explain(theirs.to_text(), ours.to_text()) == (
        "key1, key2, key3, key4, key5, key6, 4 more"
    )


def test_a_child_that_differs_is_told_in_what() -> None:
    ours, theirs = digest(config()).to_text(), digest(config("algorithm.lr=0.5")).to_text()
    admission = Admission(["east"], ours, "", "", certified=False, patience=1.0)
    with pytest.raises(Refusal, match=r"another configuration .*\(it differs in algorithm.lr\)"):
        admission._check(pb.Hello(name="east", protocol=frames.PROTOCOL, plan=theirs))
    admission._check(pb.Hello(name="east", protocol=frames.PROTOCOL, plan=ours))
