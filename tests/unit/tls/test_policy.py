"""Beyond this machine there are certificates, or a configuration that says there are none."""

from __future__ import annotations

import pytest

from hierfl.config import Config, load_config
from hierfl.errors import ConfigError, RunFailed
from hierfl.planning.plan import resolve
from hierfl.tls.authority import make_certificates
from hierfl.tls.identity import Identity
from hierfl.tls.policy import identity

LOOPBACK = ["127.0.0.1:0", "127.8.9.10:1", "localhost:2", "LOCALHOST:3", "[::1]:4"]
BEYOND = [
    "0.0.0.0:1", "[::]:2", "10.0.0.1:3", "[fe80::1]:4", "cloud.example.org:5", "localhost.x:6",
    "127.0.0.1.example.org:7", "[::ffff:10.0.0.1]:8", "127.1:9",
]  # fmt: skip


def config(*sets: str) -> Config:
    return load_config(None, sets)


@pytest.mark.parametrize("address", LOOPBACK)
def test_at_home_nothing_is_asked_for(address: str) -> None:
    for key in ("cloud.address", "edges.west.address"):
        resolve(config(f"{key}='{address}'"))


@pytest.mark.parametrize("address", BEYOND)
@pytest.mark.parametrize("key", ["cloud.address", "edges.1.address"])
def test_plain_text_does_not_go_beyond_this_machine(key: str, address: str) -> None:
    exposed = config(f"{key}='{address}'")
    for ask in (lambda: resolve(exposed), lambda: identity(exposed, "cloud")):
        with pytest.raises(ConfigError) as caught:
            ask()
        error = caught.value
        assert error.path == "security" and f"{key} is {address}" in error.message
        assert error.hint is not None
        assert "hierfl certs" in error.hint and "insecure: true" in error.hint


def test_unless_it_says_so(tmp_path) -> None:  # type: ignore[no-untyped-def]
    insecure = config("cloud.address=h:1", "security.insecure=true")
    assert resolve(insecure).security.insecure
    assert identity(insecure, "cloud") is None


def test_with_certificates_it_may(tmp_path) -> None:  # type: ignore[no-untyped-def]
    secure = config("cloud.address=h:1", f"security.certs={tmp_path}")
    resolve(secure)
    with pytest.raises(RunFailed, match=r"ca\.crt does not exist"):
        identity(secure, "east")
    make_certificates(secure, tmp_path)
    assert identity(secure, "east") == Identity.read(tmp_path, "east")


def test_within_one_process_nothing_is_exposed() -> None:
    """But a node that is started by itself is a process, whatever the file says."""
    memory = config("cloud.address=h:1", "runtime=memory")
    assert resolve(memory).runtime == "memory"
    with pytest.raises(ConfigError):
        identity(memory, "cloud")


def test_certificates_are_meant_at_home_too(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RunFailed, match="does not exist"):
        identity(config(f"security.certs={tmp_path}"), "cloud")
    assert identity(config(), "cloud") is None
