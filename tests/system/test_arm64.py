"""The image built for 64-bit Arm: a device in it votes with others on this machine's processor.

Run by `make test-containers` alone. Where this machine has another processor, that one is emulated;
for this qemu must be registered in the kernel, and tests/system/arm64_base.sh make a base.
"""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from deploy.launcher.ports import Ports
from tests.system.containers import ROOT, documented, environment, podman
from tests.system.harness import LIMIT_S, started, summary

pytestmark = [pytest.mark.containers, pytest.mark.timeout(7200)]

BASE = "localhost/python-arm64:3.11-slim"
IMAGE = "hierfl-test-arm64"
QEMU = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")
NAME = f"hierfl-test-arm64-{os.getpid()}"
TOPOLOGY = """
algorithm: {name: hier-signsgd, rounds: 3, edge_steps: 5}
quorum: {step_timeout: 300, round_timeout: 1200}
cloud: {address: "CLOUD"}
edges:
  - {name: east, address: "EAST", devices: 2}
  - {name: west, address: "WEST", devices: 2}
"""


@pytest.fixture(scope="module")
def image() -> None:
    """The image of this tree, for arm64. It stays: its layers make the next build quick."""
    if platform.machine() != "aarch64" and not QEMU.exists():
        pytest.skip(f"programs for arm64 do not run here: no {QEMU} (Debian: qemu-user-static)")
    if subprocess.run(["podman", "image", "exists", BASE]).returncode:
        pytest.skip(f"there is no image {BASE}: tests/system/arm64_base.sh makes it")
    documented(
        "podman build --arch arm64 --format docker -t hierfl -f deploy/Dockerfile .", ROOT,
        lambda text: text.replace("-t hierfl ", f"--build-arg BASE={BASE} -t {IMAGE} "),
    )  # fmt: skip


def test_it_is_for_arm_and_has_no_cuda(image: None) -> None:
    code = "import os, platform, torch; print(platform.machine(), torch.version.cuda, os.getuid())"
    said = arm("--network", "none", "--entrypoint", "python", IMAGE, "-c", code)
    assert said.split() == ["aarch64", "None", "1000"]


def test_a_device_on_arm_votes_with_others(image: None, tmp_path: Path) -> None:
    """All hold the model's bits at each round's start and at the end.

    A node whose hash is not its parent's would be turned away, and the run not end.
    """
    topology = tmp_path / "topology.yaml"
    text, out, state = TOPOLOGY, tmp_path / "run", str(tmp_path / "state")
    with Ports() as ports, ExitStack() as others:
        for node in ("CLOUD", "EAST", "WEST"):
            text = text.replace(node, ports.fix(node, "127.0.0.1:0"))
        topology.write_text(text)
        cloud = others.enter_context(started("cloud", str(topology), "--out", str(out)))
        for edge in ("east", "west"):
            for role, name in (("edge", edge), ("device", f"{edge}-0"), ("device", f"{edge}-1")):
                if name != "west-1":
                    arguments = (role, str(topology), "--name", name, "--state", state)
                    others.enter_context(started(*arguments))
        others.callback(podman, "rm", "--force", "--ignore", NAME)
        arm(
            "--name", NAME, "--network", "host", "-v", f"{topology}:/topology.yaml:ro",
            "-v", f"{environment()['HIERFL_DATA']}:/data:ro", IMAGE,
            "device", "/topology.yaml", "--name", "west-1", "--set", "data.root=/data",
        )  # fmt: skip
        assert cloud.wait(LIMIT_S) == 0
    result = summary(out)
    assert (result["devices"], result["steps"]) == (4, 15)
    assert not any(result["faults"].values()), result["faults"]


def arm(*arguments: str) -> str:
    """Run a container for arm64 to its end; return what it prints."""
    return podman("run", "--rm", "--arch", "arm64", *arguments)
