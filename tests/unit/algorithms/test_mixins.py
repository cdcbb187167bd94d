"""What an algorithm may derive from beside `Algorithm`, and what holds where it does not."""

from __future__ import annotations

import numpy as np
import pytest

from hierfl.algorithms import BUILT_IN
from hierfl.algorithms.base import PayloadLengths, Settings, Step
from hierfl.algorithms.local_steps import LocalSteps, local_steps_of
from hierfl.algorithms.opening import NoOpening, OpeningLengths, RoundOpening, opening_of
from hierfl.codecs import RandomizedCodec
from hierfl.errors import PayloadError
from hierfl.numerics.layout import Layout

LAYOUT = Layout(("matrix", "bias"), ((5, 7), (6,)))
AT = Step(1, "edge", 3, 4, np.float32(0.1))

every = pytest.mark.parametrize("name", BUILT_IN)


@every
def test_who_has_an_opening_says_all_of_it_and_the_others_nothing(name: str) -> None:
    algorithm = BUILT_IN[name](LAYOUT, Settings())
    opening = opening_of(algorithm)
    same: object = algorithm
    own = isinstance(algorithm, RoundOpening)
    assert (opening.opening_batches > 0) == any(opening.opening_sizes()) == own
    if own:
        assert opening is same
        return
    assert isinstance(opening, NoOpening)
    assert opening.opening_sizes() == OpeningLengths(0, 0, 0, 0)
    assert opening.contribute(np.zeros(LAYOUT.d, np.float32), AT) == b""
    assert opening.respond(b"", b"", AT) == b""
    opening.accept({}, b"", AT)
    for refused in (
        lambda: opening.accept({}, b"x", AT),
        lambda: opening.combine([1.0], [b"x"], AT),
    ):
        with pytest.raises(PayloadError, match="1 bytes for an opening, which this algorithm has"):
            refused()


@every
def test_local_steps(name: str) -> None:
    algorithm = BUILT_IN[name](LAYOUT, Settings())
    assert (local_steps_of(algorithm) > 1) == isinstance(algorithm, LocalSteps)


@every
def test_sizes_have_names(name: str) -> None:
    algorithm = BUILT_IN[name](LAYOUT, Settings())
    sizes = algorithm.sizes()
    assert isinstance(sizes, PayloadLengths) and min(sizes) > 0
    draw, state = np.random.default_rng(0), algorithm.device_state()
    gradient = draw.standard_normal(LAYOUT.d, np.float32)
    assert len(algorithm.ballot(state, gradient, AT)) == sizes.ballot


@every
def test_a_report_depends_on_the_step_that_it_is_given_and_on_nothing_else(name: str) -> None:
    reports = []
    for at in (AT, AT, Step(1, "edge", 9, 4, AT.lr)):
        algorithm = BUILT_IN[name](LAYOUT, Settings(steps=4))
        device, edge = algorithm.device_state(), algorithm.edge_state()
        draw, round_ = np.random.default_rng(0), algorithm.edge_round(edge, [10])
        for step in range(1, 5):
            then = Step(1, "edge", 3, step, AT.lr)
            gradient = draw.standard_normal(LAYOUT.d, np.float32)
            round_.add(0, algorithm.ballot(device, gradient, then))
            round_.decide(then)
        reports.append(round_.report(at))
    assert reports[0] == reports[1]
    drawn = isinstance(getattr(algorithm, "reports", None), RandomizedCodec)
    assert (reports[0] != reports[2]) == drawn
