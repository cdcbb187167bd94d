"""`hierfl list`, `hierfl schema`, and how the help is laid out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest
import typer.main
import yaml

from hierfl.algorithms import BUILT_IN
from hierfl.cli.main import app
from hierfl.config import load_config
from hierfl.config.reference import reference
from hierfl.config.yaml_dialect import Loader
from tests.commands import leaves
from tests.unit.conftest import Run

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("kind", ["algorithms", "codecs", "datasets", "models", "tasks"])
def test_all_that_is_built_in_is_listed_with_a_line_each(hierfl: Run, kind: str) -> None:
    lines = hierfl("list", kind).out.splitlines()
    assert all(re.fullmatch(r"[\w-]+ +\S.*\w.*", line) for line in lines), lines
    assert json.loads(hierfl("list", kind, "--json").out).keys() == {
        line.split()[0] for line in lines
    }


def test_every_algorithm_is_listed_and_another_kind_is_refused(hierfl: Run) -> None:
    assert json.loads(hierfl("list", "algorithms", "--json").out).keys() == BUILT_IN.keys()
    done = hierfl("list", "planets")
    assert done.code == 2 and "planets" in done.err and len(done.err.splitlines()) <= 3


def test_the_schema_takes_every_example_and_finds_what_is_wrong(hierfl: Run) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(hierfl("schema").out)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    texts = [file.read_text() for file in sorted((ROOT / "examples").rglob("*.yaml"))]
    texts.append(load_config(None, ["data.dataset=digits"]).to_yaml())
    texts.append("edges: [{name: a, devices: [b]}]\ndata: {dataset: {csv: {files: '*.csv'}}}")
    for text in texts:
        assert [error.message for error in validator.iter_errors(yaml.load(text, Loader))] == []
    for wrong in (
        "edges: [{name: a, devices: 0}]",
        "edges: [{name: a, devices: 2}]\nalgorithm: {rouns: 3}",
        "edges: [{name: a, devices: 2}]\nseed: -1",
        "edges: [{name: a, devices: 2}]\nruntime: threads",
        "algorithm: {rounds: 3}",
    ):
        assert [*validator.iter_errors(yaml.load(wrong, Loader))], wrong


def test_the_reference_is_that_of_the_configuration() -> None:
    again = "python -m hierfl.config.reference > docs/topology.md"
    assert (ROOT / "docs" / "topology.md").read_text() == reference(), again


def test_the_help_is_in_groups_and_minus_h_shows_it(
    hierfl: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = hierfl("--help").out
    panels = ["Start here", "Results", "Nodes", "Experiments", "Machines", "Flower"]
    assert re.findall(r"^╭─ ([^─]+) ─", text, re.MULTILINE)[-len(panels) :] == panels
    for command in ("run", "cloud", "up local", "data get"):
        short = hierfl(*command.split(), "-h")
        assert short.code == 0 and "Example" in short.out
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in hierfl("-h").out


VOCABULARY = {
    "--set": "a key of the topology",
    "--out": "what is written, a file or a folder; -o for short",
    "--certs": "the folder of the certificates",
    "--data-root": "the folder of the data sets",
    "--json": "JSON on standard output",
    "--name": "a node of the topology",
    "--jobs": "how many runs at a time",
    "--home": "FLWR_HOME",
    "--page": "the live page's address",
}
"""The options that several commands have: each has one name, and no other option its meaning."""

TWINS = {
    "--output", "--out-dir", "--folder", "--file", "--to", "--dest", "--certificates", "--cert",
    "--root", "--root-certificates", "--data-dir", "--datadir", "--format", "--key", "--option",
    "--override", "--config", "--workers", "--parallel", "--node", "--port-page",
}  # fmt: skip
"""Other names that an option of the vocabulary could have."""


def test_one_option_has_one_name_and_one_form_everywhere() -> None:
    options: dict[str, list[tuple[str, click.Option]]] = {}
    for path, command in leaves(typer.main.get_command(app), ("hierfl",)):
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                options.setdefault(option.opts[0], []).append((" ".join(path), option))
    assert options.keys() >= VOCABULARY.keys()
    assert not options.keys() & TWINS
    for name, uses in options.items():
        forms = {(*one.opts[1:], one.is_flag, type(one.type)) for _, one in uses}
        assert len(forms) == 1, (name, uses)
        if name in VOCABULARY:
            assert re.fullmatch(r"--[a-z]+(-[a-z]+)*", name)
    assert all(option.opts == ["--out", "-o"] for _, option in options["--out"])


def test_every_command_answers_minus_h_with_an_example(hierfl: Run) -> None:
    for path, _ in leaves(typer.main.get_command(app), ("hierfl",)):
        done = hierfl(*path[1:], "-h")
        assert done.code == 0 and "Example: " in done.out, path


def test_what_reads_a_topology_takes_sets() -> None:
    for path, command in leaves(typer.main.get_command(app), ("hierfl",)):
        names = {name for param in command.params for name in param.opts}
        if "topology" in names:
            assert "--set" in names, path
