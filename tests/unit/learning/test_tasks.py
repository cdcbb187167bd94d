"""The built-in tasks: their figures are those that scikit-learn and torch find; own ones work."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import hierfl
from hierfl.config import load_config
from hierfl.errors import ConfigError, HierflError
from hierfl.learning.flat_model import FlatModel
from hierfl.learning.loaded import known, load_data
from hierfl.learning.samples import Tensors
from hierfl.learning.setup import make_trainer
from hierfl.learning.tasks import BUILT_IN, make_task
from hierfl.learning.trainer import evaluate, sums
from hierfl.learning.user_code import UserCodeError
from hierfl.protocol.facts import Facts, Moments

EDGES = "edges=[{name: e, devices: [d]}]"


def task_of(name: str, facts: Facts, *sets: str) -> hierfl.Task:
    task = make_task(load_config(None, [f"task={name}", *sets]))
    task.facts = facts
    return task


class Fixed(nn.Module):
    """Says what its inputs say, in a shape that the task wants."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * self.scale


def figures(name: str, facts: Facts, batch: object, *sets: str) -> dict[str, float]:
    task = task_of(name, facts, *sets)
    return evaluate(task, FlatModel(Fixed()), Tensors(batch), 7)


RNG = np.random.default_rng(5)


def test_classification_is_cross_entropy_and_accuracy() -> None:
    outputs, labels = RNG.normal(size=(50, 4)), RNG.integers(0, 4, 50)
    found = figures("classification", Facts(50, labels=(0, 1, 2, 3)), (outputs, labels))
    logits = torch.tensor(outputs, dtype=torch.float32)
    expected = nn.functional.cross_entropy(logits, torch.tensor(labels)).item()
    assert list(found) == ["loss", "accuracy"]
    assert found["loss"] == pytest.approx(expected, rel=1e-6)
    assert found["accuracy"] == (outputs.argmax(1) == labels).mean()


@pytest.mark.parametrize("shape", [(), (3,)])
def test_regression_is_mse_mae_and_r2_in_the_values_own_unit(shape) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    wanted = (300 + 50 * RNG.normal(size=(60, *shape))).astype(np.float32)
    said = wanted + 10 * RNG.normal(size=wanted.shape).astype(np.float32)
    moments = Moments.of(wanted.reshape(60, -1).astype(np.float64))
    scaled = (said.reshape(60, -1) - np.array(moments.mean)) / moments.deviation()
    facts = Facts(60, (1,), "float32", target_shape=shape, targets=moments)
    found = figures("regression", facts, (scaled, wanted))
    assert found["mse"] == pytest.approx(metrics.mean_squared_error(wanted, said), rel=1e-4)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(wanted, said), rel=1e-4)
    assert found["r2"] == pytest.approx(metrics.r2_score(wanted, said), abs=1e-4)
    assert found["loss"] == pytest.approx(
        float(np.square((said - wanted).reshape(60, -1) / moments.deviation()).mean()), rel=1e-3
    )


def test_values_that_must_not_be_standardised_are_learnt_as_they_are() -> None:
    values = np.array([[1.0], [3.0]])
    facts = Facts(2, (1,), "float32", target_shape=(1,), targets=Moments.of(values))
    found = figures("regression", facts, (values, values), "data.standardize=none")
    assert found["mse"] == found["loss"] == 0


def test_reconstruction_is_the_squared_error_of_each_sample() -> None:
    inputs = torch.tensor(RNG.normal(size=(20, 5)), dtype=torch.float32)
    task = task_of("reconstruction", Facts(20, (5,), "float32"))
    model = FlatModel(Fixed())
    model.weights[:] = 1.5
    found = evaluate(task, model, Tensors(inputs))
    assert found["mse"] == found["loss"] == pytest.approx(float((0.5 * inputs).square().mean()))
    each = task.scores(model.module, inputs)["mse"]
    assert torch.allclose(each, (0.5 * inputs).square().mean(1))


def test_segmentation_is_mean_iou() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    wanted = RNG.integers(0, 3, (10, 4, 6))
    said = np.where(RNG.random(wanted.shape) < 0.7, wanted, RNG.integers(0, 3, wanted.shape))
    outputs = np.moveaxis(np.eye(4)[said], -1, 1)  # the fourth class is nowhere
    found = figures("segmentation", Facts(10, labels=(0, 1, 2, 3)), (outputs, wanted))
    expected = metrics.jaccard_score(wanted.ravel(), said.ravel(), average="macro")
    assert found["mean_iou"] == pytest.approx(expected, abs=1e-9)
    assert found["accuracy"] == pytest.approx((wanted == said).mean())


def test_segmentation_scores_are_shares_of_classes() -> None:
    task = BUILT_IN["segmentation"]()
    task.facts = Facts(2, labels=("road", "sky"))
    said = np.array([[[0, 0], [0, 1]], [[1, 1], [1, 1]]])
    outputs = torch.from_numpy(np.moveaxis(np.eye(2)[said], -1, 1))
    scores = task.scores(nn.Identity(), outputs)
    assert {name: of.tolist() for name, of in scores.items()} == {
        "share_road": [0.75, 0.0],
        "share_sky": [0.25, 1.0],
    }


def test_next_token_is_perplexity() -> None:
    class Uniform(Fixed):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return torch.zeros(*inputs.shape, 8) * self.scale

    tokens = torch.randint(0, 8, (20, 6), generator=torch.Generator().manual_seed(0))
    task = task_of("next-token", Facts(20, (6,), "int64", highest=7))
    found = evaluate(task, FlatModel(Uniform()), Tensors(tokens))
    assert found["perplexity"] == pytest.approx(8, rel=1e-5)
    assert found["accuracy"] == pytest.approx(float((tokens[:, 1:] == 0).float().mean()))


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_sums_of_parts_are_sums_of_the_whole(name: str) -> None:
    facts = {
        "classification": (Facts(9, labels=(0, 1, 2)), (torch.randn(9, 3), torch.arange(9) % 3)),
        "regression": (Facts(9, target_shape=()), (torch.randn(9, 1), torch.randn(9))),
        "reconstruction": (Facts(9), torch.randn(9, 4)),
        "segmentation": (
            Facts(9, labels=(0, 1)), (torch.randn(9, 2, 3, 3), torch.randint(0, 2, (9, 3, 3))),
        ),
        "next-token": (Facts(9), None),
    }[name]  # fmt: skip
    if facts[1] is None:
        pytest.skip("its model maps tokens")
    task, model = task_of(name, facts[0]), FlatModel(Fixed())
    whole = Tensors(facts[1])
    parts = [sums(task, model, whole.take(torch.arange(i, 9, 2))) for i in range(2)]
    added = {key: parts[0][key] + parts[1][key] for key in parts[0]}
    assert task.compute(added) == pytest.approx(task.compute(sums(task, model, whole, 9)), rel=1e-6)


def test_there_is_no_such_task() -> None:
    with pytest.raises(ConfigError, match="no task 'clasification'") as caught:
        make_task(load_config(None, ["task=clasification"]))
    assert caught.value.hint == "did you mean classification?"


OWN = '''
import torch
from torch import nn
import hierfl

class Energy(hierfl.Task):
    def load(self, node):
        self.node = node
        table = torch.arange(250.0).reshape(10, 25) / 250
        return hierfl.Data(train=torch.utils.data.TensorDataset(table[:, :24], table[:, 24:]))

    def build(self, facts):
        return nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 1))

    def loss(self, model, batch):
        inputs, targets = batch
        return nn.functional.huber_loss(model(inputs), targets)

    def metrics(self, model, batch):
        inputs, targets = batch
        return {"examples": len(inputs), "absolute_error": (model(inputs) - targets).abs().sum()}

class Trees(Energy):
    """A batch may be any tree of tensors."""
    def load(self, node):
        class Items(torch.utils.data.Dataset):
            def __len__(self): return 10
            def __getitem__(self, i):
                return {"x": torch.full((24,), float(i)), "y": (torch.ones(1), i)}
        return hierfl.Data(train=Items(), test=Items())
    def loss(self, model, batch):
        assert batch["y"][1].dtype == torch.int64
        return (model(batch["x"]) - batch["y"][0]).square().mean()
    def metrics(self, model, batch):
        return {"examples": len(batch["x"])}

class Random(Energy):
    def loss(self, model, batch):
        noise = torch.rand(1)
        return super().loss(model, batch) + noise[0] * model[0].weight.sum()

class Loss(hierfl.Classification):
    """A part alone: the data set and the model are those that the topology names."""
    def loss(self, model, batch):
        inputs, labels = batch
        return nn.functional.cross_entropy(model(inputs), labels, label_smoothing=0.1)

class Fails(Energy):
    def loss(self, model, batch):
        inputs, targets = batch
        return nn.functional.huber_loss(model(inputs), targets[:, :, None].nothing)

class FailsLater(Energy):
    calls = 0
    def loss(self, model, batch):
        FailsLater.calls += 1
        if FailsLater.calls > 1:
            raise KeyError("later")
        return super().loss(model, batch)

class NotScalar(Energy):
    def loss(self, model, batch):
        return model(batch[0])[:, 0]

class Detached(Energy):
    def loss(self, model, batch):
        return torch.tensor(3.0)

class NoModel(Energy):
    def build(self, facts):
        return 3

class NoData(Energy):
    def load(self, node):
        return [1, 2]

class NoExamples(Energy):
    def metrics(self, model, batch):
        return {"error": 3}

number = 3
'''


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "own_task.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_task", None)


def trainer_of(name: str, *sets: str):
    config = load_config(None, [f"task=own_task:{name}", "data.partition.kind=own", EDGES, *sets])
    loaded = load_data(config, "d")
    return make_trainer(config, "d", loaded, known(loaded))


def test_an_own_task_trains_on_all_that_it_loads() -> None:
    trainer = trainer_of("Energy", "data.root=/data/{edge}/{name}")
    assert trainer.examples == 10
    node = trainer.task.node
    assert (node.name, node.edge, node.role) == ("d", "e", "device")
    assert node.root == Path("/data/e/d")
    before = evaluate(trainer.task, trainer.model, trainer.samples)
    assert list(before) == ["absolute_error", "loss"]
    for step in range(200):
        trainer.gradient(np.random.default_rng(step))
        trainer.model.weights -= np.float32(0.001) * np.sign(trainer.model.gradient)
    after = evaluate(trainer.task, trainer.model, trainer.samples)
    assert after["absolute_error"] < before["absolute_error"] / 3


def test_a_batch_is_any_tree() -> None:
    trainer = trainer_of("Trees")
    assert math.isfinite(trainer.gradient(np.random.default_rng(0)))
    assert trainer.test is not None
    assert "loss" in evaluate(trainer.task, trainer.model, trainer.test)


def test_what_a_loss_draws_is_keyed() -> None:
    trainer = trainer_of("Random")
    losses = []
    for key in (1, 2, 1):
        torch.rand(key)
        state = torch.get_rng_state()
        losses.append(trainer.gradient(np.random.default_rng(key)))
        assert torch.equal(torch.get_rng_state(), state)
    assert losses[0] == losses[2] != losses[1]


def test_a_part_alone() -> None:
    config = load_config(None, ["task=own_task:Loss", "data.dataset=digits", "model=linear"])
    loaded = load_data(config)
    trainer = make_trainer(config, "east-0", loaded)
    assert trainer.model.layout.d == 650
    assert known(loaded).classes == 10
    trainer.gradient(np.random.default_rng(0))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Fails", "a batch of 10 samples fails: AttributeError"),
        ("NotScalar", r"one number for the batch, not a tensor of shape \(10,\)"),
        ("Detached", "does not depend on the model's parameters"),
        ("NoModel", "must return a torch.nn.Module, not a int"),
        ("NoData", "must return hierfl.Data, not list"),
        ("number", "is a int, not a hierfl.Task"),
        ("absent", "has no attribute 'absent'"),
    ],
)
def test_mistakes_are_one_screen(name: str, said: str) -> None:
    with pytest.raises(HierflError, match=said) as caught:
        trainer_of(name)
    if name == "Fails":
        assert 'own_task.py", line 51, in loss\n' in str(caught.value)
        assert "targets[:, :, None].nothing" in str(caught.value)


def test_a_mistake_that_shows_while_training_names_file_and_line() -> None:
    trainer = trainer_of("FailsLater")
    with pytest.raises(UserCodeError, match="KeyError: 'later'") as caught:
        trainer.gradient(np.random.default_rng(0))
    assert "own_task.py" in str(caught.value) and 'raise KeyError("later")' in str(caught.value)


def test_metrics_say_of_how_many_examples_they_are() -> None:
    trainer = trainer_of("NoExamples")
    with pytest.raises(ConfigError, match="'examples'"):
        evaluate(trainer.task, trainer.model, trainer.samples)
