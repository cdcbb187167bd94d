from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.deploy.launcher.federation import Federation


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[type[Federation]]:
    started: list[Federation] = []

    class Here(Federation):
        def __init__(self, *sets: str) -> None:
            super().__init__(tmp_path, *sets)
            started.append(self)

    yield Here
    for one in started:
        one.launcher.kill()
        one.launcher.communicate()
        one.listener.close()
