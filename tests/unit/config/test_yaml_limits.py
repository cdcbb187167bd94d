"""Topologies that would take all memory or all stack are refused early, in one line."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import pytest

from hierfl.config import load_config
from hierfl.config.yaml_dialect import DEEPEST
from hierfl.errors import ConfigError, render

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)
MERGED = "a0: &a0 {k: 1}\n" + "".join(
    f"a{i}: &a{i} {{{', '.join(f'k{j}: *a{i - 1}' for j in range(9))}}}\n" for i in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LAUGHS + "edges: *a9\n", "more than 1,000,000 values, aliases written out"),
        (MERGED + "edges: *a9\n", "more than 1,000,000 values, aliases written out"),
        ("edges: " + "[" * 20_000 + "]" * 20_000, f"more than {DEEPEST} lists and mappings"),
        ("edges: " + "{a: " * 20_000 + "1" + "}" * 20_000, f"more than {DEEPEST} lists"),
        ("edges:\n" + "".join(" " * i + "- \n" for i in range(1, 2000)), f"more than {DEEPEST}"),
        ("edges: &a [*a]\n", "an alias of what it is in"),
        ("edges: &a {b: &b [*a]}\n", "an alias of what it is in"),
        ("seed: " + "9" * 5000, "a number has too many digits"),
        ("a: " + "x" * 5_000_000, "has 5,000,003 characters; 4,194,304 are the most"),
        ("a: \x01", "it has the character '\\x01' at 3"),
    ],
)
def test_what_is_too_much_is_refused_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "topology.yaml"
    file.write_text(text)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert time.process_time() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # KiB
    assert words in caught.value.message
    assert len(render(caught.value).splitlines()) == 1


@pytest.mark.parametrize("key", ["seed", "algorithm.rounds", "algorithm.batch_size"])
def test_a_number_of_4000_digits_is_too_large(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, [f"{key}={'9' * 4000}"])
    assert "should be less than" in caught.value.message
    assert len(render(caught.value)) < 6000


def test_aliases_and_nesting_within_reason_are_read(tmp_path: Path) -> None:
    file = tmp_path / "topology.yaml"
    file.write_text(
        "data: &data {dataset: digits}\n"
        "edges:\n  - {name: a, devices: &names [x, y]}\n  - {name: b, devices: 500}\n"
        "reach: {x: &both [a, b], y: *both}\n"
    )
    config = load_config(file)
    assert config.reach["x"] == config.reach["y"]
