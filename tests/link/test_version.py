"""A Flower that hierfl does not know is refused in words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hierfl.errors import ConfigError
from hierfl.link import version


@pytest.mark.parametrize("found", ["1.40.2", "1.43.0", "2.0.0"])
def test_another_flower_is_refused(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "version", lambda name: found)
    with pytest.raises(ConfigError, match=re.escape(f"Flower {found} is installed")) as caught:
        version.check_flower()
    pyproject = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert caught.value.hint is not None
    assert caught.value.hint.split("'")[1] in pyproject


@pytest.mark.parametrize("found", ["1.41.0", "1.42.7", "1.42.0rc1"])
def test_a_known_flower_is_not(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "version", lambda name: found)
    version.check_flower()
