"""A testbed's plan, and what is said where it cannot be built."""

from __future__ import annotations

import os

import pytest

from deploy.testbed.iproute import require
from deploy.testbed.shape import disciplines
from deploy.testbed.topology import Wiring
from hierfl.config import Link, load_config
from hierfl.config.quantities import bits_per_second, microseconds
from hierfl.errors import ConfigError
from hierfl.runs import interface_counters

CONFIG = load_config(None, ["links={device: {up: 1mbit, delay: 20ms}, edge: {down: 8mbit},"
                            " nodes: {west-2: {up: 250kbit}}}"])  # fmt: skip


def test_every_node_has_addresses_of_its_own_and_devices_only_their_edge_s_network() -> None:
    wiring = Wiring.of(CONFIG, "hierfl-1")
    assert len({w.address for w in wiring.wires}) == len(wiring.wires) == 1 + 2 * 2 + 6
    networks: dict[str, set[str]] = {}
    for w in wiring.wires:
        networks.setdefault(w.node, set()).add(w.bridge)
    assert networks["cloud"] == {"core"}
    assert networks["east"] == {"core", "cluster1"} and networks["west"] == {"core", "cluster2"}
    assert all(networks[f"west-{k}"] == {"cluster2"} for k in range(3))
    assert wiring.listens == {
        "cloud.address": "10.0.0.1:4700",
        "edges.0.address": "10.1.0.1:4700",
        "edges.1.address": "10.2.0.1:4700",
    }
    names = [*wiring.namespaces.values(), wiring.switch]
    assert len(set(names)) == 10 and all(name.startswith("hierfl-1") for name in names)
    assert wiring.cuts == {
        "cloud": "p0", "east": "e1", "east-0": "d1", "east-1": "d2", "east-2": "d3",
        "west": "e2", "west-0": "d4", "west-1": "d5", "west-2": "d6",
    }  # fmt: skip


def test_many_devices_have_addresses_too() -> None:
    wiring = Wiring.of(load_config(None, ["edges=[{name: e, devices: 600}]"]), "x")
    assert len({w.address for w in wiring.wires}) == 603
    assert wiring.wires[-1].address == "10.1.2.89"  # number 601 of its network
    many = ", ".join(f"{{name: e{i}, devices: 1}}" for i in range(255))
    with pytest.raises(ConfigError, match="at most 254 edges"):
        Wiring.of(load_config(None, [f"edges=[{many}]"]), "x")


def test_what_a_node_does_not_say_of_its_link_its_role_does() -> None:
    links = CONFIG.links
    assert links.of("device", "west-2") == Link(up="250kbit", delay="20ms")
    assert links.of("device", "west-1") == Link(up="1mbit", delay="20ms")
    assert links.of("edge", "east") == Link(down="8mbit")


def test_rates_and_delays() -> None:
    rates = {"250kbit": 250_000, "0.25mbit": 250_000, "1gbit": 10**9, "9600bit": 9600}
    assert {text: bits_per_second(text) for text in rates} == rates
    delays = {"20ms": 20_000, "0.5s": 500_000, "80us": 80}
    assert {text: microseconds(text) for text in delays} == delays


def test_a_link_s_disciplines() -> None:
    assert disciplines("d1", None, Link()) == []
    assert disciplines("d1", "1mbit", Link()) == [
        "qdisc add dev d1 root handle 1: tbf rate 1000000bit burst 3028 limit 65536"
    ]
    assert disciplines("d1", "80mbit", Link(delay="20ms", loss=0.01)) == [
        "qdisc add dev d1 root handle 1: netem limit 100000 delay 20000us loss 1%",
        "qdisc add dev d1 parent 1:1 handle 2: tbf rate 80000000bit burst 50000 limit 2500000",
    ]


def test_the_counters_of_links_are_summed_by_tier() -> None:
    def port(name: str, received: int, sent: int) -> dict[str, object]:
        stats = {"rx": {"bytes": received}, "tx": {"bytes": sent}}
        return {"ifname": name, "link_type": "ether", "stats64": stats}

    lo = {"ifname": "lo", "link_type": "loopback", "stats64": port("lo", 9, 9)["stats64"]}
    ports = [lo, port("core", 7, 7), port("cluster1", 7, 7), port("p0", 5, 5), port("p1", 5, 5),
             port("e1", 100, 200), port("d1", 1, 2), port("d12", 10, 20)]  # fmt: skip
    assert interface_counters.summed(ports) == {
        "device_up": 11, "device_down": 22, "edge_up": 100, "edge_down": 200,
    }  # fmt: skip


def test_away_from_testbeds_nothing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(interface_counters.VARIABLE, raising=False)
    assert interface_counters.carried() is None


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives up being root")
def test_who_is_not_root_is_told_so() -> None:
    os.seteuid(65534)
    try:
        with pytest.raises(ConfigError, match="only root") as caught:
            require()
    finally:
        os.seteuid(0)
    assert caught.value.exit_code == 2


def test_without_iproute2_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="the program ip is not installed") as caught:
        require()
    assert "iproute2" in str(caught.value.hint)
