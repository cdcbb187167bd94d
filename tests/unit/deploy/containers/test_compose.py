"""The compose files: who meets whom, who holds what, and that the ready ones are up to date."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.containers.compose import compose
from deploy.containers.healthcheck import linked
from hierfl.config import Config, load_config
from hierfl.errors import ConfigError
from hierfl.planning.plan import resolve

ROOT = Path(__file__).parents[4]
TREE = {"cloud": [], "east": ["cloud"], "west": ["cloud"]}
TREE |= {f"{edge}-{i}": [edge] for edge in ("east", "west") for i in range(3)}


@pytest.fixture
def topology(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = Path("tree.yaml")
    file.write_text("name: A.tree\nedges:\n- {name: 'no', devices: ['1e3', two]}\n"
                    "- {name: far, address: '10.0.0.1:4700', devices: 1}\n")  # fmt: skip
    return file


def services(text: str) -> dict[str, dict[str, Any]]:
    tree: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
    return tree


def seen_by(service: dict[str, Any], topology: Path) -> Config:
    """The configuration with which a container's node starts."""
    command = [word.replace("$$", "$") for word in service["command"]]
    sets = [after for word, after in pairwise(command) if word == "--set"]
    assert command[1] == "/topology.yaml"
    return resolve(load_config(topology, sets))


def test_the_ready_file_is_what_the_command_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "deploy")
    assert Path("compose.yaml").read_text() == compose(Path("../examples/demo.yaml"), [])


@pytest.mark.parametrize("file", ["compose.yaml", "compose-flower.yaml"])
def test_the_ready_files_hold_the_demo_and_no_more_than_each_needs(file: str) -> None:
    tree = yaml.safe_load((ROOT / "deploy" / file).read_text())
    assert list(tree["services"]) == list(load_order())
    for name, service in tree["services"].items():
        parents, is_parent = TREE[name], name in ("cloud", "east", "west")
        assert service["networks"] == [*parents, *([name] if is_parent else [])]
        held = [m.split(":")[1] for m in service["volumes"] if m.startswith("./certs/")]
        private = [f for f in held if not f.endswith((".crt", ".pub"))]
        assert {Path(f).stem for f in private} == {name}
        assert {Path(f).stem for f in held if f.endswith(".crt")} == {"ca", name}
        assert f"{name}-state:/state" in service["volumes"]
        assert service["restart"].startswith("on-failure")
    assert set(tree["networks"]) == {"cloud", "east", "west"}
    assert all(network == {"internal": True} for network in tree["networks"].values())


def load_order() -> list[str]:
    tree = load_config(ROOT / "examples/demo.yaml").tree()
    return ["cloud", *(name for edge, devices in tree.items() for name in (edge, *devices))]


def test_children_dial_their_parents_by_name(topology: Path) -> None:
    made = services(compose(topology, ["seed=7"]))
    assert list(made) == ["cloud", "no", "1e3", "two", "far", "far-0"]
    assert {seen_by(service, topology).seed for service in made.values()} == {7}
    assert seen_by(made["cloud"], topology).cloud.address == "0.0.0.0:9400"
    for name in ("no", "far"):
        mine = seen_by(made[name], topology)
        assert mine.cloud.address == "cloud:9400"
        assert mine.edge(name).address == "0.0.0.0:9400"
    assert seen_by(made["1e3"], topology).edge("no").address == "no:9400"
    assert seen_by(made["far-0"], topology).edge("far").address == "far:9400"


def test_places_on_this_machine_are_mounted(topology: Path) -> None:
    sets = ["security.certs=/etc/a$b", "data.root=../sets"]
    made = services(compose(topology, sets))
    assert "/etc/a$$b/two.key:/certs/two.key:ro" in made["two"]["volumes"]
    assert "./tree.yaml:/topology.yaml:ro" in made["two"]["volumes"]
    assert "../sets:/data:ro" in made["two"]["volumes"]
    there = seen_by(made["two"], topology)
    assert (there.security.certs, there.data.root) == (Path("/certs"), Path("/data"))
    assert not [mount for mount in made["no"]["volumes"] if ":/data" in mount]


def test_parents_get_the_list_of_revoked_certificates(topology: Path, tmp_path: Path) -> None:
    certs = tmp_path / "keys"
    certs.mkdir()
    (certs / "revoked").write_text("far-0\n")
    made = services(compose(topology, [f"security.certs={certs}"]))
    holders = [
        name for name, service in made.items()
        if f"{certs}/revoked:/certs/revoked:ro" in service["volumes"]
    ]  # fmt: skip
    assert holders == ["cloud", "no", "far"]


def test_without_certificates_none_are_mounted(topology: Path) -> None:
    made = services(compose(topology, ["security.insecure=true"]))
    assert not [m for service in made.values() for m in service["volumes"] if "certs" in m]
    assert seen_by(made["cloud"], topology).security.certs is None


def test_a_wrong_topology_is_refused(topology: Path) -> None:
    with pytest.raises(ConfigError, match=r"algorithm\.rounds"):
        compose(topology, ["algorithm.rounds=0"])
    with pytest.raises(ConfigError, match=r"uplink\.codec"):
        compose(topology, ["uplink.codec=none"])


HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"


@pytest.mark.parametrize(
    ("local", "state", "healthy"),
    [
        ("00000000:24B8", "0A", True),  # listens everywhere
        ("00000000000000000000000000000000:24B8", "0A", True),
        ("0100007F:24B8", "0A", False),  # listens to this machine
        ("00000000000000000000000001000000:24B8", "0A", False),
        ("0301590A:9A12", "01", True),  # 10.89.1.3
        ("0000000000000000FFFF00000301590A:9A12", "01", True),
        ("0000000000000000FFFF00000100007F:9A12", "01", False),
        ("0301590A:9A12", "02", False),  # dials, and nobody answers
        ("0301590A:9A12", "06", False),
    ],
)
def test_health_is_a_link(local: str, state: str, healthy: bool) -> None:
    line = f"   0: {local} 0201590A:24B8 {state} 00000000:00000000 00:00000000 00000000  1000\n"
    assert linked(HEAD + line) is healthy
    assert not linked(HEAD)
