"""What the documents show exists: pages, anchors, files, commands, options, topologies, tests."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer.main
import yaml

from hierfl.cli.main import app
from hierfl.config import load_config
from hierfl.config.read import make_config
from hierfl.planning.plan import resolve
from tests.commands import leaves

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *PAGES, *sorted((ROOT / "examples").rglob("*.md"))]
COMMANDS = typer.main.get_command(app)

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


# -- links ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_the_readme_links_every_page(page: Path) -> None:
    assert f"](docs/{page.name})" in README.read_text()


@each_document
def test_links_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if link.startswith("http"):
            continue
        file, _, anchor = link.partition("#")
        target = document.parent / file if file else document
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@each_document
def test_the_files_that_are_named_exist(document: Path) -> None:
    named = r"`((?:tests|hierfl|clients|edge|cloud|deploy|benchmarks|examples)/[\w/.-]+)`"
    for path in re.findall(named, document.read_text()):
        if path not in MADE:
            assert (ROOT / path).exists(), path


MADE = ("deploy/certs",)
"""Paths that a document's own commands make."""


def test_the_tests_that_security_names_exist() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    rows = [
        line.split("|")[2] for line in text.splitlines() if line.startswith("|") and "/" in line
    ]
    assert len(rows) > 10
    for row in rows:
        for file, names in re.findall(r"`([a-z/]+/test_\w+)`(?:: ((?:`\w+`(?:, )?)+))?", row):
            code = (ROOT / "tests" / f"{file}.py").read_text()
            for name in re.findall(r"`(\w+)`", names):
                assert re.search(rf"def test_\w*{name}", code), f"{file}: {name}"


def test_the_errors_of_troubleshooting_are_those_of_the_code() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    headings = re.findall(r"^### `(.+)`$", page, re.MULTILINE)
    code = "".join(
        file.read_text()
        for package in ("hierfl", "clients", "edge", "cloud", "deploy")
        for file in (ROOT / package).rglob("*.py")
    )
    joined = re.sub(r'"\s+f?"', "", code)  # a text over several lines
    assert len(headings) > 10
    for heading in headings:
        assert heading in joined or heading in FILLED_IN, heading


FILLED_IN = ("ended with signal SIGKILL",)
"""What an f-string makes."""


def test_the_site_shows_every_page() -> None:
    shown = re.findall(r"[\w-]+\.md", (ROOT / "mkdocs.yml").read_text())
    assert sorted(shown) == [page.name for page in PAGES]


def anchors(document: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# -- commands -------------------------------------------------------------------------------------


@each_document
def test_commands_and_their_options_exist(document: Path) -> None:
    for line in commands(document.read_text()):
        check(line)


def test_a_wrong_command_is_found() -> None:
    for line in (
        "hierfl rnu",
        "hierfl run --bogus",
        "hierfl data fetch",
        "hierfl up edge --root x",
    ):
        with pytest.raises(AssertionError):
            check(line)


def test_every_command_has_an_example_in_its_help() -> None:
    for path, command in leaves(COMMANDS, ("hierfl",)):
        examples = re.findall(r"^Example: (.+)$", command.help or "", re.MULTILINE)
        assert any(" ".join(path) in example for example in examples), path
        for example in examples:
            check(example.removeprefix("sudo "))


def test_every_option_has_a_help() -> None:
    for path, command in leaves(COMMANDS, ("hierfl",)):
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, (path, option.name)


def commands(text: str) -> Iterator[str]:
    """Yield the calls of hierfl in code blocks and in backticks."""
    for kind, block in blocks(text):
        if kind in ("", "bash", "console"):
            for line in block.replace("\\\n", " ").splitlines():
                if found := re.match(
                    r"(?:[\w-]+ ?\$ +)?(?:\w+=\S+ +|sudo )*(?:\S*/)?(hierfl .*)", line
                ):
                    yield found[1]
    for code in re.findall(r"`(hierfl\s[^`]+)`", without_blocks(text)):
        yield " ".join(code.split())


def check(line: str) -> None:
    """Fail unless the command of a line exists, with all its options."""
    command: click.Command = COMMANDS
    words = iter(shlex.split(line.partition(" #")[0])[1:])
    for word in words:
        if isinstance(command, click.Group) and not word.startswith("-"):
            assert word in command.commands, line
            command = command.commands[word]
        elif word in (">", "|", ">>"):
            return
        elif word.startswith("--"):
            known = {
                opt for param in command.params for opt in (*param.opts, *param.secondary_opts)
            }
            assert word.partition("=")[0] in {*known, "--help"}, line


# -- topologies and code --------------------------------------------------------------------------


@each_document
def test_topologies_are_valid(document: Path, tmp_path: Path) -> None:
    """Whole topologies are resolved; of parts, the keys and the values are checked."""
    for kind, text in blocks(document.read_text()):
        tree = yaml.safe_load(text) if kind == "yaml" else {"hosts": []}
        if "hosts" in tree:
            continue
        if "edges" in tree:
            file = tmp_path / "topology.yaml"
            file.write_text(text)
            resolve(load_config(file))
        else:
            make_config({"edges": load_config(None).model_dump()["edges"], **tree})


@each_document
def test_python_is_valid(document: Path) -> None:
    for kind, text in blocks(document.read_text()):
        if kind == "python":
            ast.parse(text)


@pytest.mark.parametrize("topology", sorted((ROOT / "examples").rglob("*.yaml")), ids=str)
def test_the_examples_are_valid(topology: Path) -> None:
    resolve(load_config(topology))


def test_the_readmes_topologies_have_ten_lines_at_most() -> None:
    whole = [
        text for kind, text in blocks(README.read_text()) if kind == "yaml" and "edges:" in text
    ]
    assert [len(text.splitlines()) <= 10 for text in whole] == [True, True]


_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(text: str) -> list[tuple[str, str]]:
    """Return the language and the text of each code block."""
    return _BLOCK.findall(text)


def without_blocks(text: str) -> str:
    return _BLOCK.sub("", text)
