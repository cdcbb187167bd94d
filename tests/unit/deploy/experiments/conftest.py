from __future__ import annotations

from pathlib import Path

import pytest

TREE = """
model: mlp
data: {dataset: "tests.system.tiny:load"}
algorithm: {edge_steps: 3, rounds: 2}
edges: [{name: east, devices: 2}, {name: west, devices: 1}]
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small federation."""
    file = tmp_path / "tree.yaml"
    file.write_text(TREE)
    return file
