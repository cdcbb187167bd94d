"""`hierfl doctor`: which checks are made for which nodes."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

from deploy.doctor import network, stock_app, tls
from deploy.doctor.finding import Finding, failure
from deploy.doctor.versions import versions
from hierfl.config import CLOUD, Config
from hierfl.config.addresses import split
from hierfl.units import plural


def doctor(config: Config, node: str | None) -> int:
    """Run all checks on this machine and print them; return the exit code.

    Args:
        config: the resolved configuration.
        node: the node that will run here; None: all that can.

    Raises:
        ConfigError: if there is no such node or no such model.
    """
    if node not in (None, CLOUD):
        config.parent_of(str(node))
    grades = []
    for finding in findings(config, node):
        print(finding.line(), flush=True)
        grades.append(finding.grade)
    failures, warnings = grades.count("failure"), grades.count("warning")
    print(f"{plural(failures, 'failure')}, {plural(warnings, 'warning')}")
    return 1 if failures else 0


def findings(config: Config, node: str | None) -> Iterator[Finding]:
    """Yield the findings one by one."""
    yield from versions()
    if config.app is not None:
        model = yield from stock_app.of(config)
    else:
        model = yield from _workload(config, node)
    if (found := network.proxies(os.environ)) is not None:
        yield found
    if node is None:
        yield from _tree(config)
    else:
        yield from _node(config, node, model)


def _workload(config: Config, node: str | None) -> Generator[Finding, None, str]:
    """Check data, disk space and memory; return the fingerprint of the model, or ""."""
    try:
        from deploy.doctor import workload
    except (ImportError, OSError) as error:
        yield failure("torch", f"cannot be imported: {error}.", "Install it again; see the README.")
        return ""
    nodes = _who_can_be_here(config) if node is None else [node]
    return (yield from workload.of(config, nodes))


def _node(config: Config, node: str, model: str) -> Iterator[Finding]:
    """Check the network, the certificate and the parent of one node."""
    places = _places(config)
    parent = None if node == CLOUD else config.parent_of(node)
    for place in (node, parent):
        if place in places:
            host, _ = split(places[place][1])
            if (named := network.name(host, listens=place == node)) is not None:
                yield named
    if node in places:
        yield network.port(node, *places[node])
    shown = tls.certificate(config, node)
    yield shown
    if shown.grade == "failure":
        return
    if parent is None:
        yield tls.alone(config, node)
        return
    yield from tls.welcome(config, node, parent, *places[parent], model)


def _tree(config: Config) -> Iterator[Finding]:
    """Check all addresses, and the certificates that are on this machine."""
    seen = set()
    for place, (key, address) in _places(config).items():
        host, number = split(address)
        here = network.is_here(host)
        named = None if host in seen else network.name(host, listens=here)
        seen.add(host)
        if named is not None:
            yield named
        if named is not None and named.grade == "failure":
            continue
        if not here:
            yield network.way(place, key, address)
        elif number:
            yield network.port(place, key, address)
    certs = config.security.certs
    for node in config.roles():
        if certs is not None and (certs / f"{node}.key").exists():
            yield tls.certificate(config, node)
    if certs is not None and not (certs / "ca.crt").exists():
        yield tls.certificate(config, CLOUD)


def _places(config: Config) -> dict[str, tuple[str, str]]:
    """Return node -> (key of its address, address), for all nodes that listen."""
    return dict(zip((CLOUD, *config.tree()), config.addresses().items(), strict=True))


def _who_can_be_here(config: Config) -> list[str]:
    """Return all nodes if all listen at addresses of this machine, else only those that do."""
    places = _places(config)
    here = [node for node, (_, address) in places.items() if network.is_here(split(address)[0])]
    return list(config.roles()) if len(here) == len(places) else here
