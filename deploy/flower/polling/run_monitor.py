"""The status of the cloud's run, which an edge's run polls because no link tells it the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from hierfl.config import CLOUD
from hierfl.errors import RunFailed
from hierfl.link.flower_compat import run_status

EVERY_S = 5.0
"""Seconds between two questions to the cloud's SuperLink."""

IDLE_S = 600.0
"""Seconds without a status or a request after which an edge's run ends."""


class Above:
    """Asks the cloud's SuperLink, through the connection `cloud` in Flower's configuration here.

    Args:
        run_id: the cloud's run.
    """

    def __init__(self, run_id: int) -> None:
        self._ask = run_status(CLOUD, run_id)
        self._asked = 0.0
        self._heard = time.monotonic()
        self._busy = False

    @contextmanager
    def heard_of(self) -> Iterator[None]:
        """Within the block a request of the run is answered; that may take any time."""
        self._busy = True
        try:
            yield
        finally:
            self._heard = time.monotonic()
            self._busy = False

    def over(self) -> bool:
        """Return whether the run has ended well; to be called often.

        Raises:
            RunFailed: it has ended otherwise, or there was no news for long.
        """
        now = time.monotonic()
        if now - self._asked < EVERY_S:
            return False
        self._asked = now
        status = self._ask()
        if status is None:
            if not self._busy and now - self._heard > IDLE_S:
                raise RunFailed(f"nothing was heard of the cloud's run for {IDLE_S:.0f} s")
            return False
        self._heard = now
        if status.status != "finished":
            return False
        if status.sub_status != "completed":
            raise RunFailed(f"the cloud's run has {status.sub_status}")
        return True
