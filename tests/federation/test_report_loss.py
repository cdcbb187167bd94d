"""Losses need not travel, and the model does not depend on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from hierfl.link import link_pb2 as pb
from tests.federation.test_liars import other_device
from tests.federation.toy import toy


def test_no_ballot_holds_a_loss_and_the_model_is_the_same() -> None:
    heard: list[Any] = []

    def listen(round_: int, said: Any) -> Any:
        if isinstance(said, pb.Ballot):
            heard.append(said.loss)
        return said

    models = []
    for sets in ([], ["report_loss=false"]):
        federation = toy(sets)
        other_device(federation, listen)
        federation.run()
        models.append(federation.strategy.base.copy())
        losses, heard = heard, []
        assert losses and any(losses) == (not sets)
        assert all((result.loss == 0) == bool(sets) for result in federation.results)
    np.testing.assert_array_equal(models[0], models[1])
