"""A ServerApp that fails: one screen, with the app's own lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flwr.serverapp import ServerApp

from deploy.stock_app.app import load_part
from deploy.stock_app.server import _serve
from hierfl.errors import RunFailed, render

DEEP = """
from flwr.serverapp import ServerApp
server = ServerApp()

def load(depth):
    if depth == 0:
        raise FileNotFoundError("no weights in runs/first")
    load(depth - 1)

@server.main()
def main(grid, context):
    load(context.run_config["depth"])
"""


@pytest.mark.parametrize("depth", [0, 50])
def test_it_is_one_screen(depth: int, tmp_path: Path) -> None:
    (tmp_path / f"deep_{depth}.py").write_text(DEEP)
    app = load_part(f"deep_{depth}:server", "serverapp", ServerApp, tmp_path)
    grid: Any = object()
    with pytest.raises(RunFailed) as caught:
        _serve(app, grid, {"depth": depth})
    said = render(caught.value)
    assert "the ServerApp failed: FileNotFoundError: no weights in runs/first" in said
    assert "line 12, in main" in said and "line 7, in load" in said
    assert "site-packages" not in said and "hierfl" not in said
    assert len(said.splitlines()) < 15
