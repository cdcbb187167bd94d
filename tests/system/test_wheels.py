"""A Raspberry Pi gets every package as a wheel, and none of CUDA's."""

from __future__ import annotations

import pytest

from tests.system.wheels import ROOT, kind, resolved, table

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_the_document_s_table_is_what_pip_finds() -> None:
    text = (ROOT / "docs" / "raspberry-pi.md").read_text()
    assert "\n".join(table()) in text


def test_why_an_older_pytorch() -> None:
    assert not [pin for pin in resolved() if pin.startswith(("nvidia-", "cuda-", "triton"))]
    assert len([pin for pin in resolved("torch>=2.11") if pin.startswith("nvidia-")]) > 5


def test_kinds_of_wheels() -> None:
    assert kind("a-1-py3-none-any.whl") == "any"
    assert kind("a-1-cp311-cp311-manylinux2014_aarch64.manylinux_2_17_aarch64.whl") == (
        "aarch64, glibc 2.17"
    )
    assert kind("a-1-cp311-cp311-manylinux_2_28_aarch64.whl") == "aarch64, glibc 2.28"
