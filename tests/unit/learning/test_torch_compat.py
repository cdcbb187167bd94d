"""Each test runs in a Python of its own: what is declared to torch stays declared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

RunPython = Callable[..., str]


@pytest.mark.slow
def test_torchvision_works_wherever_it_is_installed(run_python: RunPython) -> None:
    shape = run_python("""
from hierfl.learning.torch_compat import import_torchvision
torchvision = import_torchvision()
assert import_torchvision() is torchvision
import torch
image = torchvision.transforms.Normalize(0.5, 0.5)(torch.zeros(3, 32, 32))
model = torchvision.models.resnet18(num_classes=7).eval()
print(tuple(model(image[None]).shape))
""")
    assert shape == "(1, 7)"


@pytest.mark.slow
def test_operators_are_declared_only_where_a_plain_import_fails(run_python: RunPython) -> None:
    fails = run_python("""
try:
    import torchvision
    print(False)
except RuntimeError as error:
    print("nms does not exist" in str(error))
""")
    declares = run_python("""
from hierfl.learning.torch_compat import declare_operators
print(declare_operators() is not None)
""")
    assert declares == fails


def test_operators_that_exist_are_not_declared_again(run_python: RunPython) -> None:
    nothing = run_python("""
from importlib.util import find_spec
import torch
from hierfl.learning.torch_compat import _binary_loads, declare_operators
if not _binary_loads(find_spec("torchvision").submodule_search_locations):
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
print(declare_operators())
""")
    assert nothing == "None"


@pytest.mark.slow
def test_own_modules_may_import_torchvision(run_python: RunPython, tmp_path: Path) -> None:
    (tmp_path / "seeing.py").write_text("""
import torchvision
def build(classes):
    return torchvision.models.squeezenet1_1(num_classes=classes)
""")
    classes = run_python("""
from hierfl.learning.models import build_model
from hierfl.learning.data import Form
from hierfl.protocol.facts import Facts
form = Form((3, 64, 64), 5, (5,))
model = build_model("seeing:build", form, Facts(0, form.shape, "float32"), 0)
print(model.classifier[1].out_channels)
""")
    assert classes == "5"


def test_built_in_models_do_not_import_torchvision_unless_they_need_it(
    run_python: RunPython,
) -> None:
    assert (
        run_python("""
import sys
from hierfl.learning.models import build_model
from hierfl.learning.data import Form
from hierfl.protocol.facts import Facts
build_model("cnn", Form((1, 28, 28), 10, (10,)), Facts(0, (1, 28, 28), "float32"), 0)
print("torchvision" in sys.modules)
""")
        == "False"
    )


def test_torchvision_absent_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from hierfl.errors import HierflError
    from hierfl.learning import torch_compat

    monkeypatch.setattr(torch_compat, "find_spec", lambda name: None)
    with pytest.raises(HierflError, match="torchvision is not installed"):
        torch_compat.import_torchvision()
