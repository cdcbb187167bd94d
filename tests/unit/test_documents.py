"""What the documents show is tried."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hierfl.config import load_config
from hierfl.planning.plan import resolve

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_topologies_in_documents_are_valid(document: Path, tmp_path: Path) -> None:
    for text in re.findall(r"```yaml\n(.*?)```", document.read_text(), re.DOTALL):
        if "edges:" in text:
            file = tmp_path / "topology.yaml"
            file.write_text(text)
            resolve(load_config(file))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_in_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("topology", sorted((ROOT / "examples").rglob("*.yaml")), ids=str)
def test_the_examples_are_valid(topology: Path) -> None:
    resolve(load_config(topology))


def test_the_readmes_topology_has_ten_lines_at_most() -> None:
    text = re.search(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert text is not None
    assert len(text[1].splitlines()) <= 10
