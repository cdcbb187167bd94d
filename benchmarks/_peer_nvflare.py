"""The same round trip with NVFlare: a controller, two clients in processes of their own.

python _peer_nvflare.py ROUNDS RESULTS WORKSPACE    (with NVFlare's Python)
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from nvflare.apis.controller_spec import Task
from nvflare.apis.dxo import DXO, DataKind
from nvflare.apis.executor import Executor
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable
from nvflare.job_config.api import FedJob

SIZE = 100_000


class Trips(Controller):
    """Sends the model to all clients and waits for all, round after round."""

    def __init__(self, rounds: int, results: str) -> None:
        super().__init__()
        self.rounds = rounds
        self.results = results

    def start_controller(self, fl_ctx) -> None:
        """Nothing is to be prepared."""

    def stop_controller(self, fl_ctx) -> None:
        """Nothing is to be ended."""

    def control_flow(self, abort_signal, fl_ctx) -> None:
        model = {"model": np.zeros(SIZE, np.float32)}
        ends = [time.monotonic()]
        for _ in range(self.rounds):
            data = DXO(DataKind.WEIGHTS, data=model).to_shareable()
            task = Task(name="trip", data=data)
            self.broadcast_and_wait(task, min_responses=2, fl_ctx=fl_ctx, abort_signal=abort_signal)
            ends.append(time.monotonic())
        Path(self.results).write_text(json.dumps(ends))

    def process_result_of_unknown_task(self, *given) -> None:
        """There is none."""


class Echo(Executor):
    """Returns the model as it came."""

    def execute(self, task_name, shareable: Shareable, fl_ctx, abort_signal) -> Shareable:
        return shareable


if __name__ == "__main__":
    job = FedJob(name="trips", min_clients=2)
    job.to_server(Trips(int(sys.argv[1]), sys.argv[2]))
    job.to_clients(Echo(), tasks=["trip"])
    job.simulator_run(sys.argv[3], n_clients=2)
