"""Flower apps for the tests of `hierfl accelerate`, written where a test wants them."""

from __future__ import annotations

from pathlib import Path

PROJECT = """
[project]
name = "app"
version = "1.0.0"
dependencies = ["flwr"{more}]
[tool.flwr.app]
publisher = "tests"
[tool.flwr.app.components]
serverapp = "parts:server"
clientapp = "parts:client"
[tool.flwr.app.config]
results = ""
step.size = 0.5
"""

EMPTY = """
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

client = ClientApp()
server = ServerApp()
"""
"""Nothing is in it."""

PROBE = """
import json, os
from pathlib import Path

import numpy as np
import torch
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

client, server = ClientApp(), ServerApp()


@client.query()
def query(message, context):
    state = context.state.config_records.setdefault("state", ConfigRecord({"calls": 0}))
    state["calls"] += 1
    told = {"node_config": context.node_config, "run_config": context.run_config}
    seen = {
        **{key: json.dumps(value) for key, value in told.items()},
        "node": context.node_id,
        "calls": state["calls"],
        "draws": [float(np.random.random()), float(torch.rand(()))],
        "pids": [os.getpid(), os.getppid()],
    }
    return Message(RecordDict({"seen": ConfigRecord(seen)}), reply_to=message)


@server.main()
def main(grid, context):
    seen = []
    for _ in range(2):
        asked = [Message(RecordDict(), node, "query") for node in grid.get_node_ids()]
        replies = grid.send_and_receive(asked)
        seen.append([dict(reply.content["seen"]) for reply in replies])
    Path(context.run_config["results"]).write_text(json.dumps(seen))
"""
"""Every node tells what it knows, twice."""

STUCK = """
import os, signal

from flwr.app import Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

client, server = ClientApp(), ServerApp()


@client.query()
def query(message, context):
    signal.pause()


@server.main()
def main(grid, context):
    print("asking", flush=True)
    grid.send_and_receive([Message(RecordDict(), node, "query") for node in grid.get_node_ids()])
"""
"""No node ever answers."""

OLDER = """
import json, threading
from pathlib import Path

import numpy as np
from flwr.client import ClientApp, NumPyClient
from flwr.common import ndarrays_to_parameters
from flwr.server import ServerApp, ServerAppComponents, ServerConfig
from flwr.server.strategy import FedAvg


class Client(NumPyClient):
    def __init__(self, partition):
        self.partition = partition

    def fit(self, parameters, config):
        return [parameters[0] + self.partition], 1, {}

    def evaluate(self, parameters, config):
        return float(parameters[0].sum()), 1, {}


def client_fn(context):
    return Client(context.node_config["partition-id"]).to_client()


def server_fn(context):
    def seen(server_round, arrays, config):
        sums[server_round] = float(arrays[0].sum())
        Path(context.run_config["results"]).write_text(json.dumps(sums))

    sums = {}
    start = ndarrays_to_parameters([np.zeros(4)])
    strategy = FedAvg(initial_parameters=start, evaluate_fn=seen, min_available_clients=3)
    return ServerAppComponents(strategy=strategy, config=ServerConfig(num_rounds=3))


client, server = ClientApp(client_fn), ServerApp(server_fn=server_fn)
"""
"""The older kind of app, whose server has a thread for each node: node i adds i to 4 weights."""


def write_app(folder: Path, parts: str, requires: str = "") -> Path:
    """Write an app whose two parts are in one module; return its folder."""
    folder.mkdir()
    more = f', "{requires}"' if requires else ""
    (folder / "pyproject.toml").write_text(PROJECT.format(more=more))
    (folder / "parts.py").write_text(parts)
    return folder
