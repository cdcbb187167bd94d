from __future__ import annotations

import gzip
import pickle
import struct
import sys

import numpy as np
import pytest
import torch

import hierfl.learning.idx
from hierfl.config import load_config
from hierfl.errors import ConfigError, DataError
from hierfl.learning.datasets import load_dataset
from hierfl.learning.idx import read_idx
from hierfl.learning.loaded import Loaded, known, load_data, prepared
from hierfl.learning.sources import IDX_STEMS
from hierfl.learning.user_code import UserCodeError


@pytest.mark.parametrize("gz", [True, False])
@pytest.mark.parametrize("layout", ["", "fashion-mnist", "FashionMNIST/raw"])
def test_idx_sets_are_read_as_they_lie(nothing_installed, write_set, tmp_path, gz, layout):
    arrays = write_set(tmp_path / layout, gz=gz)
    data = load_dataset("fashion-mnist", tmp_path)
    (inputs, labels), (test_inputs, test_labels) = data.train, data.test
    assert np.array_equal(inputs.numpy()[:, 0], arrays[IDX_STEMS[0]])
    assert np.array_equal(labels.numpy(), arrays[IDX_STEMS[1]])
    assert np.array_equal(test_inputs.numpy()[:, 0], arrays[IDX_STEMS[2]])
    assert np.array_equal(test_labels.numpy(), arrays[IDX_STEMS[3]])
    assert inputs.dtype == torch.uint8


def test_places_are_searched_in_order(nothing_installed, write_set, tmp_path, monkeypatch):
    def size() -> int:
        return len(load_dataset("mnist", tmp_path / "root").train[1])

    write_set(tmp_path / "system" / "mnist", train=11)
    assert size() == 11
    write_set(nothing_installed / ".cache/hierfl/data/mnist", train=12)
    assert size() == 12
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_set(tmp_path / "cache/hierfl/data/mnist", train=13)
    assert size() == 13
    monkeypatch.setenv("HIERFL_DATA", str(tmp_path / "environment"))
    write_set(tmp_path / "environment" / "mnist", train=14)
    assert size() == 14
    write_set(tmp_path / "root" / "mnist", train=15)
    assert size() == 15


def test_a_set_with_a_file_missing_is_not_there(nothing_installed, write_set, tmp_path):
    write_set(tmp_path)
    (tmp_path / f"{IDX_STEMS[2]}.gz").unlink()
    with pytest.raises(DataError):
        load_dataset("mnist", tmp_path)


def test_absent_data_names_every_way_out(nothing_installed):
    with pytest.raises(DataError, match="fashion-mnist is not on this machine") as caught:
        load_dataset("fashion-mnist")
    hint = caught.value.hint or ""
    for way in (
        "hierfl data get fashion-mnist",
        "torchvision.datasets.FashionMNIST",
        "dataset-fashion-mnist",
        "--set data.dataset=digits",
    ):
        assert way in hint


def test_unknown_sets_get_the_nearest_name():
    with pytest.raises(ConfigError, match="no data set 'fashion_mnist'") as caught:
        load_dataset("fashion_mnist")
    assert caught.value.hint == "did you mean fashion-mnist?"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not an IDX file"),
        (b"<html>", "not an IDX file"),
        (b"\0\0\x0d\x01\0\0\0\0", "not an IDX file"),
        (b"\0\0\x08\x02\0\0\0\x01", "header"),
        (b"\0\0\x08\x01\0\0\0\x03ab", "3 bytes expected, 2 bytes found"),
        (b"\0\0\x08\x01\0\0\0\x03abcd", "3 bytes expected, more found"),
        (b"\0\0\x08\x04" + b"\xff" * 16, "claims"),
    ],
)
def test_damaged_idx_files_are_named(tmp_path, content, said):
    file = tmp_path / "x-ubyte"
    file.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_idx(file)
    assert str(file) in str(caught.value)


def test_damaged_gzip_files_are_named(tmp_path, write_set):
    write_set(tmp_path)
    file = tmp_path / f"{IDX_STEMS[0]}.gz"
    whole = file.read_bytes()
    for damaged in (whole[:-200], b"no gzip", whole[:100] + b"\xff" * 50 + whole[150:]):
        file.write_bytes(damaged)
        with pytest.raises(DataError) as caught:
            read_idx(file)
        assert str(file) in str(caught.value)


def pixels(path, value, images=1 << 15):
    """Write a compressed IDX file that is large enough to be worth an unpacked copy."""
    noise = np.random.default_rng(value).integers(0, 256, (images, 6, 7), np.uint8)
    header = b"\0\0\x08\x03" + struct.pack(">3I", *noise.shape)
    path.write_bytes(gzip.compress(header + noise.tobytes(), 1))
    return noise


def test_a_large_compressed_file_is_unpacked_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file, parsed = tmp_path / "images.gz", []
    written = pixels(file, 1)
    parse = hierfl.learning.idx._parse
    monkeypatch.setattr(hierfl.learning.idx, "_parse", lambda *a: parsed.append(1) or parse(*a))
    first = read_idx(file)
    assert np.array_equal(first, written)
    first[:] = 0  # the copy is shared: what one process writes stays its own
    assert np.array_equal(read_idx(file), written)
    assert parsed == [1]
    (copy,) = (tmp_path / "cache" / "hierfl" / "data" / "unpacked").glob("*.npy")
    assert not copy.with_suffix(".part").exists()


def test_an_unpacked_copy_is_of_the_file_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "images.gz"
    pixels(file, 1)
    read_idx(file)
    changed = pixels(file, 2, images=40_000)
    assert np.array_equal(read_idx(file), changed)


@pytest.mark.parametrize("damage", [b"", b"no array", b"\x93NUMPY\x01\0"])
def test_a_damaged_copy_and_a_cache_that_cannot_be_written_are_passed_by(
    tmp_path, monkeypatch, damage
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "images.gz"
    written = pixels(file, 1)
    read_idx(file)
    (copy,) = (tmp_path / "cache" / "hierfl" / "data" / "unpacked").glob("*.npy")
    copy.write_bytes(damage)
    assert np.array_equal(read_idx(file), written)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # no folder can be made in it
    assert np.array_equal(read_idx(file), written)


def test_idx_sets_do_not_import_torchvision(nothing_installed, write_set, tmp_path, run_python):
    write_set(tmp_path)
    code = """
import sys
from pathlib import Path
import hierfl.learning.idx
from hierfl.config import load_config
from hierfl.learning.datasets import load_dataset
load_dataset("mnist", Path(sys.argv[1]))
print("torchvision" in sys.modules)
"""
    assert run_python(code, str(tmp_path)) == "False"


def test_partitioning_does_not_import_torch(run_python):
    code = "import sys, hierfl.learning.partition; print('torch' in sys.modules)"
    assert run_python(code) == "False"


def test_cifar10_is_read_by_torchvision(nothing_installed, tmp_path, monkeypatch):
    from hierfl.learning.torch_compat import import_torchvision

    folder = tmp_path / "cifar10" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 3072), dtype=np.uint8)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for i, name in enumerate(names):
        batch = {"data": pixels[10 * i : 10 * i + 10], "labels": list(range(10))}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    cifar = import_torchvision().datasets.CIFAR10
    with pytest.raises(DataError, match="corrupted"):
        load_dataset("cifar10", tmp_path)
    monkeypatch.setattr(cifar, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    data = load_dataset("cifar10", tmp_path)
    assert data.train[0].shape == (50, 3, 32, 32)
    assert np.array_equal(data.train[0].numpy().reshape(50, -1), pixels[:50])
    assert np.array_equal(data.test[0].numpy().reshape(10, -1), pixels[50:])
    standardised = data.standard(data.train[0])
    expected = (pixels[:50].reshape(50, 3, 32, 32)[:, 2] / 255 - 0.4465) / 0.2616
    assert np.allclose(standardised[:, 2].numpy(), expected, atol=1e-5)


def test_digits_need_no_files(nothing_installed):
    pytest.importorskip("sklearn")
    data = load_dataset("digits")
    (images, labels), (others, _) = data.train, data.test
    assert (images.shape, len(others)) == ((1438, 1, 8, 8), 359)
    inputs = data.standard(images)
    assert abs(inputs.mean()) < 0.02 and abs(inputs.std() - 1) < 0.02
    assert torch.bincount(labels).min() > 120
    rows = {row.numpy().tobytes() for row in images}
    assert not any(row.numpy().tobytes() in rows for row in others)


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(DataError, match="scikit-learn") as caught:
        load_dataset("digits")
    assert caught.value.hint == "pip install hierfl[digits]"


OWN = """
import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

X, Y = torch.arange(12.0).view(6, 2), torch.tensor([0, 1, 2, 0, 1, 2])

def pairs():
    return (X, Y), (X[:2], Y[:2])

def with_root(root):
    assert root.name == "somewhere"
    return (X, Y), (X, Y)

class Items(Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, index):
        return torch.full((3,), float(index)), index % 2

def datasets():
    return Items(), Items()

def tensor_datasets():
    return TensorDataset(X, Y), TensorDataset(X, Y)

def bytes_():
    pixels = torch.arange(200, dtype=torch.uint8).view(50, 1, 2, 2)
    return (pixels, torch.zeros(50, dtype=torch.int64)), (pixels, torch.ones(50))

def tokens():
    pixels = torch.arange(200, dtype=torch.uint8).view(100, 2)
    return (pixels, torch.zeros(100, dtype=torch.int64)), (pixels, torch.ones(100))

def real():
    return (X, Y / 2), (X, Y)

def not_finite():
    x = X.clone()
    x[4, 1] = float("nan")
    return (x, Y), (X, Y)

def uneven():
    return (X, Y[:5]), (X, Y)

def empty():
    return (X[:0], Y[:0]), (X, Y)

class Stream(IterableDataset):
    def __iter__(self):
        return iter([])

def stream():
    return Stream(), Stream()

def fails():
    return 1 / 0

def one():
    return X

def negative():
    return (X, Y - 1), (X, Y)

def unequal():
    return (X, Y), (X[:, :1], Y)

def strings():
    return ["ab", "cd"], [("x", 1), ("y", 2), ("z", 3)]
"""


@pytest.fixture
def own_data(tmp_path, monkeypatch) -> None:
    (tmp_path / "some_data.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("some_data", None)


def load(name: str, *sets: str) -> Loaded:
    return load_data(load_config(None, [f"data.dataset=some_data:{name}", *sets]))


def batch(name: str, where: torch.Tensor | slice) -> tuple[torch.Tensor, torch.Tensor]:
    config = load_config(None, [f"data.dataset=some_data:{name}"])
    loaded = load_data(config)
    return prepared(config, loaded, loaded.held(), known(loaded)).batch(where)


@pytest.mark.usefixtures("own_data")
class TestOwnData:
    def test_pairs_of_tensors_pass_as_they_are(self):
        data = load("pairs")
        assert (len(data.held()), len(data.test)) == (6, 2)
        assert (known(data).classes, known(data).shape) == (3, (2,))
        inputs, labels = batch("pairs", torch.tensor([5]))
        assert inputs.tolist() == [[10.0, 11.0]] and labels.tolist() == [2]

    def test_root_is_handed_on(self):
        assert len(load("with_root", "data.root=somewhere").test) == 6

    def test_datasets_of_items_are_read_when_a_batch_needs_them(self):
        inputs, labels = batch("datasets", torch.tensor([3, 0]))
        assert inputs.tolist() == [[3.0] * 3, [0.0] * 3]
        assert labels.tolist() == [1, 0]
        assert known(load("tensor_datasets")).classes == 3

    def test_images_of_bytes_are_standardised_by_the_training_half(self):
        inputs, _ = batch("bytes_", slice(None))
        assert inputs.dtype == torch.float32
        assert abs(inputs.mean()) < 1e-5
        assert abs(inputs.std(correction=0) - 1) < 1e-5

    def test_bytes_in_one_dimension_are_tokens(self):
        inputs, _ = batch("tokens", slice(None))
        assert inputs.dtype == torch.uint8
        assert known(load("tokens")).highest == 199

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("one", "must return"),
            ("negative", "there is -1"),
            ("real", "whole numbers from 0 up; there is 0.5"),
            ("unequal", r"shape \(2,\) at train and \(1,\) at test"),
            ("strings", "some_data:strings"),
            ("not_finite", "the input of sample 4, at .1,. is nan"),
            ("uneven", r"as many; their shapes: \(6, 2\) and \(5,\)"),
            ("empty", "there are no samples"),
            ("stream", "Stream is an IterableDataset"),
        ],
    )
    def test_anything_else_is_named(self, name, said):
        with pytest.raises(DataError, match=said) as caught:
            load(name)
        assert f"some_data:{name}" in str(caught.value)

    def test_what_fails_in_it_is_shown_with_file_and_line(self):
        with pytest.raises(UserCodeError) as caught:
            load("fails")
        text = str(caught.value)
        assert "some_data.py" in text and "return 1 / 0" in text and "ZeroDivisionError" in text
