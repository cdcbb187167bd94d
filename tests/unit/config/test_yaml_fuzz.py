"""Whatever a topology file holds: one screen in our own words, and exit code 2."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hierfl.config.read import load_config, make_config, read_config
from hierfl.errors import SCREEN_LINES, ConfigError, render

FOREIGN = re.compile(
    r"pydantic|errors\.pydantic|yaml\.org|Traceback|validation error|Input should"
    r"|Value error|<class|while (parsing|scanning|constructing)|ConstructorError|ScannerError"
    r"|extra_forbidden"
    r"|valid (integer|number|string|tuple|dictionary|boolean)|type=|NoneType|unicode string",
    re.IGNORECASE,
)

FULL = load_config(
    None,
    [
        "privacy={epsilon: 3, delta: 1e-5}", "app=null", "reach={east-0: [east, west]}",
        "channel={kind: analog, snr_db: 3}", "data.partition={kind: dirichlet, alpha: 0.4}",
        "links.nodes={east-0: {up: 1mbit}}", "faults.shout=[east-0]",
        "algorithm.options={local_steps: 3}", "data.augment=[{crop: {size: 3}}]",
        "metrics.prometheus='127.0.0.1:9000'", "data.homes={east: [east-0, east-1, east-2, "
        "west-0, west-1, west-2]}",
    ],
)  # fmt: skip
TEXT = FULL.to_yaml()

ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([2**63, -(2**70), 10**40]),
    st.floats(), st.text(max_size=8), st.binary(max_size=4), st.dates(), st.datetimes(),
    st.sampled_from(["", "a:b", "127.0.0.1:99999", "::", "{name}", "1e-3", "own", "-", "~"]),
    st.lists(st.integers(0, 2), max_size=3), st.dictionaries(st.text(max_size=3), st.integers()),
    st.just({"kind": "x"}), st.just({None: 1}), st.just({1: 2}), st.just([{}]), st.just([[]]),
)  # fmt: skip


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in a tree."""
    inner: list[Any] = []
    if isinstance(tree, dict):
        inner = list(tree.items())
    elif isinstance(tree, list):
        inner = list(enumerate(tree))
    return [path, *(found for key, value in inner for found in places(value, (*path, key)))]


PLACES = places(FULL.model_dump(mode="json"))[1:]


def refused_in_our_words(error: ConfigError) -> None:
    shown = render(error)
    assert error.exit_code == 2
    assert not FOREIGN.search(shown), shown
    assert len(shown.splitlines()) <= SCREEN_LINES + 12, shown
    assert shown.replace("\n", "").isprintable()


@settings(max_examples=600, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(PLACES), ODD), min_size=1, max_size=3), st.booleans())
def test_any_value_in_any_place(changes: list[tuple[tuple[Any, ...], Any]], rename: bool) -> None:
    tree = FULL.model_dump(mode="json")
    for path, value in changes:
        place = tree
        try:
            for step in path[:-1]:
                place = place[step]
            if rename and isinstance(place, dict):
                place[f"{path[-1]}x"] = place.pop(path[-1], None)
            else:
                place[path[-1]] = value
        except (KeyError, IndexError, TypeError):  # an earlier change took the place away
            continue
    try:
        make_config(tree, "topology.yaml")
    except ConfigError as error:
        refused_in_our_words(error)


@pytest.mark.parametrize("seed", range(4))
def test_any_damage_to_the_text(seed: int) -> None:
    draw = random.Random(seed)
    pieces = [
        "{", "}", "[", "]", ":", "- ", "&a ", "*a", "!!python/object:os.system ", "!x ", "---\n",
        "%YAML 9.9\n", "...\n", "\t", "\n", "'", '"', "|", ">", "@", "`", "\x00", "\x85", "\u2028",
        "\ufeff", "<<: ", "? ", "# ", ", ", "1e999", "0x", "2026-13-45", "1:99:99", "=", "!!int x",
        "!!float y", "!!binary x", "!!timestamp z", "!!set {a}", "!!omap [a]", "!!pairs [a]", "\\x",
        '"\\q"', "😀",
    ]  # fmt: skip
    for _ in range(250):
        text = TEXT
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(len(text))
            kind = draw.randrange(3)
            if kind == 0:
                text = text[:at] + draw.choice(pieces) + text[at:]
            elif kind == 1:
                text = text[:at] + text[at + draw.randint(1, 9) :]
            else:
                end = text.find("\n", at)
                text = text[:at] + text[end if end > 0 else at :]
            text = text or "x"
        try:
            read_config(text)
        except ConfigError as error:
            refused_in_our_words(error)


@pytest.mark.parametrize(
    "words",
    [
        "!!int x", "!!float y", "!!binary '*'", "!!timestamp z", "2026-13-45", "!!bool maybe",
        "!!omap [a]", "!!pairs [a]", "{<<: [1]}", "{<<: 3}",
    ],
)  # fmt: skip
def test_values_that_a_tag_does_not_fit(words: str) -> None:
    text = yaml.safe_dump({"edges": 1}) + f"name: {words}\n"
    with pytest.raises(ConfigError) as caught:
        read_config(text)
    refused_in_our_words(caught.value)
