"""`hosts`: which devices share a process, and what names them."""

from __future__ import annotations

import re

import pytest

from hierfl.config import load_config
from hierfl.config.schema import Config
from hierfl.errors import ConfigError


def config(hosts: str) -> Config:
    return load_config(None, [f"hosts={hosts}"])


def test_a_host_stands_for_its_devices() -> None:
    here = config("{laptop: [east-1, west-0]}")
    assert here.devices_of(["laptop"]) == ("east-1", "west-0")
    assert here.devices_of(["west-2", "laptop"]) == ("west-2", "east-1", "west-0")
    assert here.processes() == {
        "cloud": "cloud", "east": "edge", "west": "edge", "east-0": "device", "east-2": "device",
        "west-1": "device", "west-2": "device", "laptop": "device",
    }  # fmt: skip


def test_without_hosts_each_node_is_a_process() -> None:
    assert load_config(None).processes() == load_config(None).roles()


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ("{a: [east-9]}", "hosts.a.0: no device is named 'east-9'"),
        ("{a: [east]}", "hosts.a.0: no device is named 'east'"),
        ("{a: [east-0], b: [east-0]}", "hosts.b.0 and hosts.a.0 have the same device 'east-0'"),
        ("{east: [east-0]}", "hosts.east and edges.0.name have the same name 'east'"),
        ("{a: []}", "hosts.a: should name at least one"),
    ],
)
def test_wrong_hosts_are_refused(hosts: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        config(hosts)


def test_a_flower_app_has_no_hosts() -> None:
    with pytest.raises(ConfigError, match="a Flower app needs a process for each device"):
        load_config(None, ["app=apps/mine", "hosts={a: [east-0]}"])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a", "east-0"], "east-0 is named twice"),
        (["east"], "no device named 'east'"),
        (["esat-0"], "no device named 'esat-0'"),
    ],
)
def test_wrong_names_are_refused(names: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config("{a: [east-0, east-1]}").devices_of(names)
