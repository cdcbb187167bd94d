"""HOSTS.yaml: what it takes, and what is said of what it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.ssh.inventory import Host, Hosts, read_hosts
from hierfl.config import Cloud, Config, Edge
from hierfl.errors import ConfigError, render

CONFIG = Config(
    cloud=Cloud(address="10.0.0.1:4700"),
    edges=(Edge(name="east", address="10.0.0.2:4701", devices=("pi-1", "pi-2")),),
)


def read(folder: Path, text: str) -> Hosts:
    file = folder / "hosts.yaml"
    file.write_text(text)
    return read_hosts(file, CONFIG)


def test_a_host_has_defaults(tmp_path: Path) -> None:
    (host,) = read(tmp_path, "hosts: [{name: hub, nodes: [cloud]}]").hosts
    assert host == Host(name="hub", nodes=("cloud",))
    assert (host.user, host.memory, host.ssh, host.python) == ("hierfl", "1G", None, None)
    assert (host.paths.venv, host.paths.config) == ("/opt/hierfl", "/etc/hierfl")


def test_hosts_that_are_alike_share_their_keys(tmp_path: Path) -> None:
    text = """
        hosts:
          - &pi {name: a, user: pi, memory: 700M, nodes: [east]}
          - {<<: *pi, name: b, nodes: [pi-1]}
    """
    _, second = read(tmp_path, text).hosts
    assert (second.name, second.user, second.memory, second.nodes) == ("b", "pi", "700M", ("pi-1",))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the file is empty\n  It needs at least:"),
        ("- hub", "expected a mapping of keys to values, got a list"),
        ("hosts: []", "hosts: should name at least one"),
        ("hosts: [{nodes: [cloud]}]", "hosts.0.name: this key is required"),
        ("hosts: [{name: a, nodes: [cloud], adress: x}]", "hosts.0.adress: there is no such key;"),
        ("hosts: [{name: a, nodes: [cloud], usr: x}]", "did you mean hosts.0.user?"),
        ("hosts: [{name: a, nodes: [cloud], venv: /x}]", "did you mean hosts.0.paths.venv?"),
        ("hosts: [{name: a, nodes: [est]}]", "hosts.0.nodes.0: no node is named 'est'; did you me"),
        (
            "hosts: [{name: a, nodes: [east]}, {name: b, nodes: [pi-1, east]}]",
            "hosts.1.nodes.1 and hosts.0.nodes.0 have the same node 'east'",
        ),
        (
            "hosts: [{name: a, nodes: [east]}, {name: a, nodes: [pi-1]}]",
            "hosts.1.name and hosts.0.name have the same name 'a'",
        ),
        ("hosts: [{name: a, nodes: [cloud], port: 0}]", "hosts.0.port: "),
        (
            "hosts: [{name: a, nodes: [cloud], ssh: -oProxyCommand=x}]",
            "should be a destination for ssh",
        ),
        ("hosts: [{name: a, nodes: [cloud], user: 'a; b'}]", "should be a user name"),
        ("hosts: [{name: a, nodes: [cloud], memory: 1 GB}]", "should be a size"),
        ("hosts: [{name: a, nodes: [cloud], python: bin/python}]", "should be an absolute path"),
        ("hosts: [{name: a, nodes: [cloud], data: /a/../b}]", "should be an absolute path"),
        ("hosts: [{name: a, nodes: [cloud], paths: {state: '/a b'}}]", "hosts.0.paths.state: "),
    ],
)
def test_what_is_wrong_is_said_with_its_key(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert says in render(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        read_hosts(tmp_path / "hosts.yaml", CONFIG)
