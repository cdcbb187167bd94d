"""Errors that say what was meant."""

from __future__ import annotations

import pytest

from hierfl.cli import main
from hierfl.config import load_config
from hierfl.config.yaml_dialect import plain_words
from hierfl.errors import ConfigError


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["run", "--rounds", "3"], "--set algorithm.rounds=3"),
        (["run", "--rounds=3"], "--set algorithm.rounds=3"),
        (["run", "--edge-steps", "5"], "--set algorithm.edge_steps=5"),
        (["validate", "x.yaml", "--lr"], "--set algorithm.lr=VALUE"),
        (["device", "x.yaml", "--seed", "2"], "--set seed=2"),
    ],
)
def test_a_key_that_is_given_as_an_option(
    capsys: pytest.CaptureFixture[str], arguments: list[str], hint: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert f"Did you mean {hint}?" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["iid", "dirichlet", "shards", "disjoint", "own"])
def test_a_partition_by_its_name_alone(kind: str) -> None:
    with pytest.raises(ConfigError, match=rf"did you mean \{{kind: {kind}\}}\?"):
        load_config(None, [f"data.partition={kind}"])


@pytest.mark.parametrize(
    "sets",
    [["data.partition=3"], ["algorithm=fast"], ["quorum=[1]"], ["cloud=here"], ["links=no"]],
)
def test_no_words_of_pydantic_s(sets: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, sets)
    assert "should be a mapping of keys to values" in caught.value.message
    for word in ("dictionary", "object to extract", "instance of", "Input"):
        assert word not in caught.value.message


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("expected ',' or ']', but got '<stream end>'", "expected ',' or ']', but the text ends"),
        ("found undefined alias 'x'", "there is no &x for the alias *x"),
        ("found character '\\t' that cannot start any token", "a tab: indent with spaces"),
        ("something new", "something new"),
    ],
)
def test_plain_words_for_problems_of_yaml(said: str, words: str) -> None:
    assert plain_words(said) == words
