from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hierfl.errors import ConfigError
from hierfl.learning.flat_model import FlatModel
from tests.unit.learning.conftest import build

OWN = """
import torch
from torch import nn

def plain():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

def asks(classes, seed=None):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
    model.seed = seed
    return model

def takes_all(**given):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, given["classes"]))
    model.given = given
    return model

def lazy():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))

def demands(depth):
    return plain()

def empty():
    return nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(10))

def frozen():
    return plain().requires_grad_(False)

def wrong_size():
    return nn.Sequential(nn.Flatten(), nn.Linear(63, 10))

def wrong_classes():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 9))

def not_a_model():
    return 3

number = 3
"""


@pytest.fixture(scope="module", autouse=True)
def own_nets(tmp_path_factory: pytest.TempPathFactory):
    folder: Path = tmp_path_factory.mktemp("own")
    (folder / "some_nets.py").write_text(OWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield


def digits(name: str, seed: int = 0) -> torch.nn.Module:
    return build(name, seed=seed)


@pytest.mark.parametrize(("name", "d"), [("mlp", 101_770), ("cnn", 82_922), ("cnn-large", 985_938)])
def test_sizes_of_the_built_in_models(name, d):
    assert FlatModel(build(name, (1, 28, 28))).layout.d == d


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 13, 7), (1, 1, 1)])
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_built_in_models_fit_any_image(name, shape):
    outputs = build(name, shape, 7)(torch.zeros(3, *shape))
    assert outputs.shape == (3, 7)


def test_resnet18_has_no_buffers_and_keeps_small_images_large():
    model = build("resnet18", (3, 32, 32))
    assert list(model.buffers()) == []
    assert model.conv1(torch.zeros(1, 3, 32, 32)).shape == (1, 64, 32, 32)
    assert FlatModel(model).layout.d == 11_173_962


@pytest.mark.parametrize("name", ["mlp", "cnn", "some_nets:plain", "some_nets:lazy"])
def test_weights_depend_on_the_seed_alone(name):
    torch.manual_seed(1)
    one = FlatModel(digits(name, 5)).weights
    torch.manual_seed(2)
    assert np.array_equal(FlatModel(digits(name, 5)).weights, one)
    assert not np.array_equal(FlatModel(digits(name, 6)).weights, one)


def test_torchs_random_state_is_left_alone():
    before = torch.get_rng_state()
    digits("cnn")
    assert torch.equal(torch.get_rng_state(), before)


def test_own_functions_get_what_they_ask_for():
    assert digits("some_nets:plain").training
    assert digits("some_nets:asks", 9).seed == 9
    assert {"shape": (1, 8, 8), "classes": 10, "seed": 0}.items() <= (
        digits("some_nets:takes_all").given.items()
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cn", "no model 'cn'"),
        ("some_nets:demands", "requires the argument 'depth'"),
        ("some_nets:empty", "some_nets:empty has no trainable parameters"),
        ("some_nets:frozen", "some_nets:frozen has no trainable parameters"),
        ("some_nets:wrong_size", r"fails on an input of shape \(1, 8, 8\)"),
        ("some_nets:wrong_classes", r"must map 2 inputs to outputs of shape \(2, 10\)"),
        ("some_nets:not_a_model", "gave a int"),
        ("some_nets:number", "is a int, not a function"),
        ("some_nets:absent", "absent"),
    ],
)
def test_wrong_models_are_named(name, said):
    with pytest.raises(ConfigError, match=said) as caught:
        digits(name)
    assert caught.value.path == "model"


def test_a_near_miss_gets_the_right_name():
    with pytest.raises(ConfigError) as caught:
        digits("resnet-18")
    assert caught.value.hint == "did you mean resnet18?"
