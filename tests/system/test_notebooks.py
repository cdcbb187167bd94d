"""The example notebooks run in a real kernel, and show what they promise."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.system.harness import ENVIRONMENT

pytestmark = pytest.mark.system

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs_and_shows_tables_and_curves(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    for module in ("ipykernel", "pandas", "matplotlib"):
        pytest.importorskip(module)
    paths = [ENVIRONMENT["PYTHONPATH"], os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    notebook = nbformat.read(file, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=90, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    shown = [outputs(cell) for cell in notebook.cells if cell.cell_type == "code"]
    first, table, figure, model, compared = shown
    assert any("<progress" in text and "round 8 of 8" in text for text in first)
    assert any("model SHA-256" in text and "data:image/png" in text for text in first)
    assert not any("INFO" in text for text in first)
    assert any("bytes.device_up" in text for text in table)
    assert any(text.startswith("iVBOR") for text in figure)
    assert any("Linear(" in text for text in model)
    assert any("ef-lion" in text and "±" in text for text in compared)


def outputs(cell: Any) -> list[str]:
    """Everything that a cell shows, as text."""
    return [
        str(text)
        for output in cell.outputs
        for text in (*output.get("data", {}).values(), output.get("text", ""))
    ]
