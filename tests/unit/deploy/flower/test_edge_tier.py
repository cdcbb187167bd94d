"""The edge tier of a Flower app: its table in pyproject.toml, and the edge's copy of the app."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from deploy.flower import edge_tier
from deploy.flower.tier_settings import SERVER, Cluster, Tier
from hierfl.errors import ConfigError, render
from hierfl.link.flower_compat import assume_identity
from tests.system.flower_apps import EMPTY, write_app

ROOT = Path(__file__).parents[4]
CLIENT = 'clientapp = "app_parts:client"'


def write(folder: Path, table: str | None) -> Path:
    """An app whose ClientApp is the edge tier's."""
    app = write_app(folder / "app", EMPTY)
    file = app / "pyproject.toml"
    text = file.read_text()
    if table is not None:
        text += f"\n[tool.hierfl]\n{table}\n"
    file.write_text(text)
    return app


def test_the_table_is_read_and_an_edge_gets_a_copy_with_its_own_parts(tmp_path: Path) -> None:
    app = write(tmp_path, f'{CLIENT}\nedge-rounds = 2\nedge-strategy = "mine:Median"')
    tier = Tier.read(app)
    assert tier == Tier("app_parts:client", 2, "mine:Median")
    cluster = Cluster("east", "secret", "7", 3)
    before = tomllib.loads((app / "pyproject.toml").read_text())
    tier.write(app, cluster)
    after = tomllib.loads((app / "pyproject.toml").read_text())
    components = after["tool"]["flwr"]["app"].pop("components")
    assert components == {"serverapp": SERVER, "clientapp": "app_parts:client"}
    assert (Tier.read(app), Cluster.read(app)) == (tier, cluster)
    before["tool"]["flwr"]["app"].pop("components")
    before["tool"]["hierfl"]["edge"] = after["tool"]["hierfl"]["edge"]
    assert after == before


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (None, ["[tool.hierfl] is missing", "clientapp = "]),
        ("edge-rounds = 2", ["clientapp should be module:attribute"]),
        (f"{CLIENT}\nedge-rounds = 0", ["edge-rounds should be 1 or more"]),
        (f"{CLIENT}\nedge-rounds = true", ["edge-rounds should be 1 or more"]),
        (f"{CLIENT}\nedge-strategy = 3", ["edge-strategy should be"]),
        (f"{CLIENT}\nedge-timeout = 0", ["edge-timeout should be"]),
        (f"{CLIENT}\nrounds = 2", ["rounds is unknown; it has clientapp, edge-rounds"]),
    ],
)
def test_a_wrong_table_is_named(table: str | None, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Tier.read(write(tmp_path, table))
    for word in ["pyproject.toml", *words]:
        assert word in render(caught.value)


def message() -> Message:
    assume_identity(1)
    return Message(RecordDict(), 1, "query")


def test_a_node_without_a_superlink_of_its_own_runs_the_apps_clientapp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = write(tmp_path, CLIENT)
    (app / "app_parts.py").write_text(
        "from flwr.app import ConfigRecord, Message, RecordDict\n"
        "from flwr.clientapp import ClientApp\n"
        "client = ClientApp()\n"
        "@client.query()\n"
        "def query(message, context):\n"
        "    content = RecordDict({'said': ConfigRecord({'here': True})})\n"
        "    return Message(content, reply_to=message)\n"
    )
    monkeypatch.setattr(edge_tier, "project", lambda: app)
    reply = edge_tier.client(message(), Context(1, 1, {}, RecordDict(), {}))
    assert reply.content["said"]["here"] is True


def test_an_edge_that_cannot_start_its_run_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge_tier, "project", lambda: write(tmp_path, CLIENT))
    here = Context(1, 1, {"superlink": "", "name": "east"}, RecordDict(), {})
    reply = edge_tier.client(message(), here)
    assert "does not name its own SuperLink" in str(reply.error.reason)


def test_the_lines_of_the_documents_are_read(tmp_path: Path) -> None:
    """docs/flower-apps.md: what its block says, in the example that it is about."""
    page = (ROOT / "docs" / "flower-apps.md").read_text()
    (block,) = re.findall(r"^```toml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    example = tomllib.loads((ROOT / "examples/flower-app/pyproject.toml").read_text())
    own = example["tool"]["flwr"]["app"]["components"]
    (tmp_path / "pyproject.toml").write_text(block)
    ours = tomllib.loads(block)["tool"]["flwr"]["app"]["components"]
    assert Tier.read(tmp_path) == Tier(own["clientapp"])
    assert ours == {**own, "clientapp": "deploy.flower.edge_tier:client"}
    assert isinstance(edge_tier.client, ClientApp) and isinstance(edge_tier.server, ServerApp)
