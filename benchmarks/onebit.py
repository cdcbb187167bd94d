"""What one bit costs a Flower app in accuracy: the tables of docs/flower-apps.md.

5 nodes in this process, the app's ClientApp with `hierfl.flower.onebit`, Flower's own strategy in
`hierfl.flower.OneBit`: the same code as on SuperNodes, without their messages' way. All nodes train
one epoch in each round, on equal shares drawn by the seed.

    python -m benchmarks.onebit --data digits fashion --strategy fedavg fedadam --codec none sign
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import mean
from typing import Any

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAdam, FedAvg, Strategy
from torch import Tensor, nn

from hierfl.flower import OneBit, onebit
from hierfl.flower.wire import KEY
from hierfl.learning.data import Form
from hierfl.learning.datasets import load_dataset
from hierfl.learning.zoo import ZOO
from hierfl.link.memory_grid import MemoryGrid
from hierfl.link.responder import Responder

NODES = 5
EVERY = 5
"""Rounds from one look at the accuracy to the next."""


@dataclass(frozen=True)
class Setting:
    """A data set with its model.

    Attributes:
        data: the data set's name.
        model: the model's name.
        images: how many are trained on, of all nodes together.
        rounds: of the strategy.
        lr: of the nodes' SGD with momentum 0.9.
        batch: its batch size.
    """

    data: str
    model: str
    images: int
    rounds: int
    lr: float
    batch: int


SETTINGS = {
    "digits": Setting("digits", "mlp", 1437, 30, 0.05, 16),
    "fashion": Setting("fashion-mnist", "cnn", 6000, 20, 0.05, 32),
}
STRATEGIES: dict[str, Callable[[], Strategy]] = {
    "fedavg": lambda: FedAvg(fraction_evaluate=0.0),
    "fedadam": lambda: FedAdam(fraction_evaluate=0.0, eta=0.01),
}


class Split:
    """A data set, its test set, and the shares of the nodes."""

    def __init__(self, setting: Setting, seed: int) -> None:
        data = load_dataset(setting.data)
        assert data.standard is not None
        self._standard = data.standard
        inputs, labels = data.train
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
        parts = order[: setting.images].tensor_split(NODES)
        self.train = [(self._floats(inputs[part]), labels[part]) for part in parts]
        self.test = self._floats(data.test[0]), data.test[1]
        self.shape = tuple(inputs.shape[1:])

    def _floats(self, images: Tensor) -> Tensor:
        return (images.float() - self._standard.mean) / self._standard.std


def make_app(
    setting: Setting, net: nn.Module, share: tuple[Tensor, Tensor], mods: Any
) -> ClientApp:
    """Return a node's app; `net` is where it computes."""
    app = ClientApp(mods=mods)
    inputs, labels = share

    @app.train()
    def train(message: Message, context: Context) -> Message:
        net.load_state_dict(message.content.array_records["arrays"].to_torch_state_dict())
        number = int(str(message.content.config_records["config"]["server-round"]))
        draws = torch.Generator().manual_seed(1000 * number + context.node_id)
        optimizer = torch.optim.SGD(net.parameters(), lr=setting.lr, momentum=0.9)
        for batch in torch.split(torch.randperm(len(labels), generator=draws), setting.batch):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(inputs[batch]), labels[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        metrics = MetricRecord({"num-examples": len(labels)})
        content = RecordDict({"arrays": ArrayRecord(net.state_dict()), "metrics": metrics})
        return Message(content, reply_to=message)

    return app


class Sizes:
    """Counts the payloads of a round: arrays, and encoded changes and updates."""

    def __init__(self) -> None:
        self.total = 0
        self.whole = 0

    def mod(self, message: Message, context: Context, call_next: Any) -> Message:
        """Count what goes in and out."""
        first = context.state.config_records.get(KEY) is None and KEY in message.content
        size = self._of(message.content)
        self.whole += size if first else 0
        reply: Message = call_next(message, context)
        self.total += (0 if first else size) + self._of(reply.content)
        return reply

    def _of(self, content: RecordDict) -> int:
        told: Any = content.config_records.get(KEY, ConfigRecord())
        payloads = [*told.get("changes", []), told.get("update", b"")]
        return sum(map(len, payloads)) + sum(
            len(array.data)
            for record in content.array_records.values()
            for array in record.values()
        )


def run(setting: Setting, strategy: str, codecs: Sequence[Any] | None, seed: int) -> dict[str, Any]:
    """Run one; return the accuracy of the last rounds in percent, and the payload's share."""
    split = Split(setting, seed)
    torch.manual_seed(seed)
    net = ZOO[setting.model](Form(split.shape, 10, (10,)))
    sizes, start = Sizes(), ArrayRecord(net.state_dict())
    mods = [sizes.mod] if codecs is None else [sizes.mod, onebit()]
    grid = MemoryGrid(
        {
            f"n{n}": Responder(
                make_app(setting, net, share, mods), Context(1, n, {}, RecordDict(), {})
            )
            for n, share in enumerate(split.train, 1)
        }
    )
    inside = STRATEGIES[strategy]()
    whole = inside if codecs is None else OneBit(inside, codec=codecs[0], downlink=codecs[1])
    curve = []

    def judge(number: int, arrays: ArrayRecord) -> None:
        if number % EVERY and number != setting.rounds:
            return
        net.load_state_dict(arrays.to_torch_state_dict())
        with torch.no_grad():
            hits = (net(split.test[0]).argmax(1) == split.test[1]).float().mean().item()
        curve.append(100 * hits)

    whole.start(grid, start, num_rounds=setting.rounds, evaluate_fn=judge)
    d = sum(parameter.numel() for parameter in net.parameters())
    rounds = setting.rounds if codecs is None else setting.rounds - 0.5  # the first comes whole
    share = sizes.total / (2 * 4 * d * NODES * rounds)
    return {"accuracy": curve[-1], "curve": [round(each, 1) for each in curve], "share": share}


def spec(text: str) -> Any:
    """Return a codec's name, or its name with options, which is given as JSON."""
    return json.loads(text) if text.startswith("{") else text


def main() -> None:
    """Print a line per run, then the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", default=[*SETTINGS], choices=[*SETTINGS])
    parser.add_argument("--strategy", nargs="+", default=[*STRATEGIES], choices=[*STRATEGIES])
    parser.add_argument("--codec", nargs="+", default=["none", "sign"])
    parser.add_argument("--downlink", help="the codec of changes, where it is another")
    parser.add_argument("--rounds", type=int, help="instead of the data set's own number")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    chosen = parser.parse_args()
    logging.getLogger("flwr").disabled = True
    torch.set_num_threads(1)
    means = []
    for data, strategy, codec in product(chosen.data, chosen.strategy, chosen.codec):
        codecs = None if codec == "none" else (spec(codec), spec(chosen.downlink or codec))
        setting = SETTINGS[data]
        if chosen.rounds:
            setting = replace(setting, rounds=chosen.rounds)
        results = [run(setting, strategy, codecs, seed) for seed in chosen.seeds]
        for seed, result in zip(chosen.seeds, results, strict=True):
            print(f"{data} {strategy} {codec} seed {seed}: {result['accuracy']:.2f}, payload 1/"
                  f"{1 / result['share']:.1f}  {result['curve']}", flush=True)  # fmt: skip
        accuracy = mean(result["accuracy"] for result in results)
        means.append(f"{data:8} {strategy:8} {codec:16} {accuracy:6.2f}")
    print("\n".join(means))


if __name__ == "__main__":
    main()
