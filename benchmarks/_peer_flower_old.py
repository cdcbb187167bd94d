"""The same round trip with Flower's deprecated `start_server` and `start_client`.

python _peer_flower_old.py server ADDRESS ROUNDS RESULTS | client ADDRESS
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from flwr.client import NumPyClient, start_client
from flwr.common import ndarrays_to_parameters
from flwr.server import ServerConfig, start_server
from flwr.server.strategy import FedAvg

SIZE = 100_000


class Echo(NumPyClient):
    """Returns the model as it came."""

    def fit(self, parameters, config):
        return parameters, 1, {}


def serve(address: str, rounds: int, results: str) -> None:
    ends = []
    strategy = FedAvg(
        fraction_evaluate=0.0,
        initial_parameters=ndarrays_to_parameters([np.zeros(SIZE, np.float32)]),
        evaluate_fn=lambda number, parameters, config: ends.append(time.monotonic()),
    )
    config = ServerConfig(num_rounds=rounds)
    start_server(server_address=address, config=config, strategy=strategy)
    Path(results).write_text(json.dumps(ends))


if __name__ == "__main__":
    if sys.argv[1] == "server":
        serve(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        start_client(server_address=sys.argv[2], client=Echo().to_client(), insecure=True)
