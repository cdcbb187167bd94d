"""Events of a small run, for tests of views."""

from __future__ import annotations

from cloud.metrics import RoundMetrics, Summary
from cloud.views.base import EdgeProgress, RoundEvaluated, RunFinished
from hierfl.config import load_config
from hierfl.numerics.layout import Layout
from hierfl.planning.forecast import forecast
from hierfl.planning.plan import make_plan, resolve
from hierfl.protocol.progress import DevicesAttached, StepDone

CONFIG = resolve(load_config(None, ["algorithm.rounds=10", "algorithm.edge_steps=4"]))
FORECAST = forecast(CONFIG, make_plan(CONFIG, Layout(("w",), ((80_000,),)), 0))


def step(edge: str, round_: int, step: int) -> EdgeProgress:
    return EdgeProgress(edge, StepDone(round_, step, 23.44, 3, 1_234_567))


def here(edge: str, *missing: str) -> EdgeProgress:
    return EdgeProgress(edge, DevicesAttached(3 - len(missing), 3, missing))


def evaluated(round_: int, accuracy: float = 0.8123) -> RoundEvaluated:
    sent = {link: count * round_ // 10 for link, count in FORECAST.payload().items()}
    return RoundEvaluated(
        RoundMetrics(
            round=round_, steps=4 * round_, wall_s=0.5 * round_,
            figures={"loss": 0.45678, "accuracy": accuracy},
            train_loss=0.5, lr=0.1, bytes=sent, quorum={"east": 3, "west": 3},
        )
    )  # fmt: skip


def finished() -> RunFinished:
    sent = FORECAST.payload()
    return RunFinished(
        Summary(
            algorithm="hier-signsgd", model="cnn", parameters=80_000, devices=6, edges=2,
            figures={"loss": 0.3456, "accuracy": 0.8731}, rounds=10, steps=40, wall_s=83.4,
            steps_per_s=0.48, model_sha256="ab" * 32, bytes=sent, float32=FORECAST.float32(),
            messages=sent, faults={"reconnects": 0, "late": 0},
        )
    )  # fmt: skip
