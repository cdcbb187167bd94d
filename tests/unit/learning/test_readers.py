"""Readers of one's own files: what they read, what they refuse, and what stays on disk."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hierfl.config import Config, make_config
from hierfl.errors import DataError, HierflError
from hierfl.learning.loaded import Loaded, known, load_all, load_data, prepared
from hierfl.learning.setup import make_trainer
from hierfl.protocol.facts import Facts, FactsConflict

Make = Callable[..., Config]


@pytest.fixture
def config(tmp_path: Path) -> Make:
    """A configuration of devices a and b that read their own folders of that name."""

    def make(dataset: object, task: str = "classification", **data: object) -> Config:
        tree = {
            "task": task,
            "model": data.pop("model", "linear"),
            "data": {
                "dataset": dataset, "root": str(tmp_path / "{name}"), "partition": {"kind": "own"},
                **data,
            },
            "edges": [{"name": "e", "devices": ["a", "b"]}],
        }  # fmt: skip
        return make_config(tree)

    return make


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip())
        return path

    return write


def load_all_of(config: Config, name: str) -> tuple[Loaded, Facts]:
    held, facts = load_all(config)
    return held[name], facts


def batch(config: Config, name: str) -> object:
    held, facts = load_all(config)
    one = held[name]
    return prepared(config, one, one.held(), facts).batch(slice(None))


class TestCsv:
    def test_names_of_classes_are_those_of_all_devices(self, config, write) -> None:
        write("a/1.csv", "x,y,what\n1,2,ok\n3,4,broken\n")
        write("b/1.csv", "what,y,x\n7.0,20,10\n7,40,30\n")
        chosen = config({"csv": {"target": "what"}}, standardize="none")
        _, facts = load_all(chosen)
        assert (facts.examples, facts.labels, facts.classes) == (4, ("7", "broken", "ok"), 3)
        inputs, labels = batch(chosen, "a")
        assert inputs.tolist() == [[1, 2], [3, 4]] and labels.tolist() == [2, 1]

    def test_columns_are_found_by_their_names(self, config, write) -> None:
        write("a/1.csv", "x,y,what\n1,2,1\n")
        write("a/2.csv", '\ufeffwhat;"y";x\n2;4;3\n'.replace(";", ","))
        write("b/1.csv", "y,z,x,what\n6,0,5,3\n\n8,0,7,4\n")
        chosen = config(
            {"csv": {"target": "what", "features": ["x", "y"]}}, "regression", standardize="none"
        )
        inputs, values = batch(chosen, "a")
        assert inputs.tolist() == [[1, 2], [3, 4]] and values.tolist() == [1, 2]
        inputs, values = batch(chosen, "b")
        assert inputs.tolist() == [[5, 6], [7, 8]] and values.tolist() == [3, 4]

    def test_rows_without_targets_and_files_to_be_judged_by(self, config, write) -> None:
        for name in ("a", "b"):
            write(f"{name}/train.csv", "x,y\n1,2\n3,4\n")
            write(f"{name}/test.csv", "x,y\n5,6\n")
        chosen = config({"csv": {"test": "test.csv"}}, "reconstruction", model="autoencoder")
        loaded = load_data(chosen, "a")
        assert (len(loaded.held()), len(loaded.test)) == (2, 1)
        trainer = make_trainer(chosen, "a", loaded, known(loaded))
        assert trainer.test is not None and trainer.examples == 2

    def test_all_devices_standardise_alike_or_each_by_itself(self, config, write) -> None:
        write("a/1.csv", "x,z\n1,7\n3,7\n")
        write("b/1.csv", "x,z\n10,7\n20,7\n30,7\n")
        values = np.array([1, 3, 10, 20, 30])
        together = config({"csv": {}}, "reconstruction")
        both = torch.cat([batch(together, name) for name in ("a", "b")])
        expected = (values - values.mean()) / values.std()
        assert np.allclose(both[:, 0].numpy(), expected, atol=1e-6)
        assert both[:, 1].tolist() == [0] * 5  # a column that never changes
        alone = config({"csv": {}}, "reconstruction", standardize="device")
        assert batch(alone, "a")[:, 0].tolist() == [-1, 1]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("x,y\n1,2\n3,oops\n", "1.csv, line 3, column y: 'oops' is no number"),
            ("x,y\n1,2\n\n3,\n", "1.csv, line 4, column y: '' is no number"),
            ("x,y\n1,2\nnan,4\n", "1.csv, line 3, column x: nan is not finite"),
            ("x,y\n1,2\n3,1e99\n", "1.csv, line 3, column y: 1e99 is not finite"),
            ("x,y\n1,2\n3\n", "1.csv, line 3: it has 1 cell, and there are 2 columns"),
            ("x,z\n1,2\n", "1.csv: there is no column 'y'"),
            ("x,x\n1,2\n", "two columns are named 'x'"),
            ("1,2\n3,4\n", "its first line holds numbers"),
            ("", "1.csv: the file is empty"),
            ("x,y\n", "there are no samples"),
            (b"x,y\n\xff\xfe,3\n", "1.csv: it is no UTF-8 text"),
        ],
    )
    def test_what_is_wrong_is_named(self, config, tmp_path, text, said) -> None:
        (tmp_path / "a").mkdir()
        data = text if isinstance(text, bytes) else text.encode()
        (tmp_path / "a" / "1.csv").write_bytes(data)
        chosen = config({"csv": {"features": ["x", "y"]}}, "reconstruction")
        with pytest.raises(DataError) as caught:
            load_data(chosen, "a")
        assert said in str(caught.value) and str(caught.value).startswith("a, csv: ")

    def test_folders_that_are_absent_or_empty(self, config, tmp_path) -> None:
        with pytest.raises(DataError, match="a: there is no such folder") as caught:
            load_data(config({"csv": {}}), "a")
        assert "--set data.root=FOLDER" in (caught.value.hint or "")
        (tmp_path / "a").mkdir()
        with pytest.raises(DataError, match=r"no file is named like \*\.csv") as caught:
            load_data(config({"csv": {}}), "a")
        assert caught.value.hint == "The folder is empty."

    def test_a_column_that_one_device_lacks_names_both(self, config, write) -> None:
        write("a/1.csv", "x,y\n1,2\n")
        write("b/1.csv", "x\n1\n")
        with pytest.raises(FactsConflict, match="the column 'y' is missing at b"):
            load_all(config({"csv": {}}, "reconstruction"))
        write("b/1.csv", "x,z\n1,2\n")
        with pytest.raises(FactsConflict, match="the column 'z' is missing at a"):
            load_all(config({"csv": {}}, "reconstruction"))

    def test_targets_that_a_task_cannot_learn_from(self, config, write) -> None:
        write("a/1.csv", "x,y\n1,warm\n")
        with pytest.raises(DataError, match="line 2, column y: 'warm' is no number"):
            load_data(config({"csv": {"target": "y"}}, "regression"), "a")
        with pytest.raises(DataError, match="samples have no targets to learn") as caught:
            load_data(config({"csv": {"features": ["x"]}}, "regression"), "a")
        assert "task: reconstruction" in (caught.value.hint or "")

    def test_a_cloud_without_data_and_one_with(self, config, write) -> None:
        write("a/1.csv", "x\n1\n")
        write("b/1.csv", "x\n2\n")
        chosen = config({"csv": {}}, "reconstruction")
        held, facts = load_all(chosen)
        assert held["cloud"] == Loaded(held["cloud"].task, None, None, None, held["cloud"].data)
        write("cloud/all.csv", "x\n100\n200\n")
        held, again = load_all(chosen)
        assert len(held["cloud"].test) == 2 and again == facts

    def test_each_device_holds_out_rows_of_its_own(self, config, write) -> None:
        for name in ("a", "b"):
            write(f"{name}/1.csv", "x\n" + "".join(f"{i}\n" for i in range(50)))
        chosen = config({"csv": {}}, "reconstruction", validation=0.2)
        held, facts = load_all(chosen)
        assert facts.examples == 80
        out = {name: held[name].test.batch(slice(None))[:, 0].tolist() for name in ("a", "b")}
        assert len(out["a"]) == 10 and out["a"] != out["b"]
        kept = held["a"].held().batch(slice(None))[:, 0].tolist()
        assert sorted(kept + out["a"]) == list(range(50))


class TestNpz:
    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    @pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "u1"])
    def test_rows_of_several_files(self, config, tmp_path, save, dtype) -> None:
        folder = tmp_path / "a"
        folder.mkdir()
        x = np.arange(60).reshape(20, 3).astype(dtype)
        y = np.arange(20) % 4
        save(folder / "1.npz", x=x[:8], y=y[:8])
        save(folder / "2.npz", x=x[8:], y=y[8:])
        loaded = load_data(config({"npz": {}}), "a")
        where = torch.tensor([19, 0, 8, 7, 0])
        inputs, labels = loaded.held().batch(where)
        assert inputs.tolist() == x[where.numpy()].tolist()
        assert labels.tolist() == y[where.numpy()].tolist()
        expected = {"f": torch.float32, "i": torch.int64, "u": torch.uint8}[dtype[0]]
        assert inputs.dtype == expected
        part = loaded.held().take(torch.tensor([5, 12]))
        assert part.batch(slice(None))[0].tolist() == x[[5, 12]].tolist()

    @pytest.mark.parametrize(
        ("arrays", "said"),
        [
            ({"x": np.zeros((3, 2))}, "there is no array 'y'"),
            ({"x": np.zeros((3, 2)), "y": np.zeros(2)}, "must be as many"),
            ({"x": np.array(["a"]), "y": np.zeros(1)}, "of type <U1, not of numbers"),
            ({"x": np.array([[np.nan]]), "y": np.zeros(1)}, "the input of row 0 of .*1.npz"),
        ],
    )
    def test_what_is_wrong_is_named(self, config, tmp_path, arrays, said) -> None:
        (tmp_path / "a").mkdir()
        np.savez(tmp_path / "a" / "1.npz", **arrays)
        with pytest.raises(DataError, match=said):
            load_data(config({"npz": {}}), "a")

    def test_what_is_no_npz(self, config, tmp_path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "1.npz").write_bytes(b"PK\3\4 damaged")
        with pytest.raises(DataError, match=r"1\.npz: "):
            load_data(config({"npz": {}}), "a")

    def test_a_device_learns_from_more_than_its_memory_holds(self, config, tmp_path) -> None:
        """A fifth of the data set is all the memory that the process may take beyond itself."""
        folder = tmp_path / "a"
        folder.mkdir()
        rows = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", "f4", (200_000, 256))
        rows[:] = np.random.default_rng(0).random(256, np.float32)
        np.savez(folder / "1.npz", x=rows)
        del rows
        megabytes = (folder / "1.npz").stat().st_size >> 20
        (tmp_path / "t.yaml").write_text(
            config({"npz": {"target": None}}, "reconstruction", validation=0.1).to_yaml()
        )
        code = """
import resource, sys, threading, time
from pathlib import Path
import numpy as np
from hierfl.learning.threads import one_thread
one_thread()
from hierfl.config import load_config
from hierfl.learning.loaded import known, load_data
from hierfl.learning.setup import make_trainer

def anonymous():
    fields = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(fields["RssAnon"].split()[0]) >> 10

config = load_config(Path(sys.argv[1]))
import torch._dynamo
before, peak = anonymous(), 0
def watch():
    global peak
    while True:
        peak = max(peak, anonymous())
        time.sleep(0.005)
threading.Thread(target=watch, daemon=True).start()
data = load_data(config, "a")
trainer = make_trainer(config, "a", data, known(data))
for step in range(20):
    trainer.gradient(np.random.default_rng(step))
print(max(peak, anonymous()) - before)
"""
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path / "t.yaml"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) < megabytes / 5, (done.stdout, megabytes)


class TestText:
    def test_pieces_of_files(self, config, write, tmp_path) -> None:
        write("a/deep/1.txt", "abcdefgh" * 2 + "xy")
        write("a/2.txt", "12345678")
        write("a/3.md", "not meant")
        chosen = config({"text": {"length": 8}}, "next-token", model="transformer")
        loaded = load_data(chosen, "a")
        pieces = [bytes(row.tolist()).decode() for row in loaded.held().batch(slice(None))]
        assert sorted(pieces) == ["12345678", "abcdefgh", "abcdefgh"]
        assert known(loaded).dtype == "uint8"
        trainer = make_trainer(chosen, "a", loaded, known(loaded))
        assert trainer.model.layout.shapes[0] == (256, 64)
        trainer.gradient(np.random.default_rng(0))

    def test_files_that_are_too_short(self, config, write) -> None:
        write("a/1.txt", "short")
        with pytest.raises(DataError, match="holds 65 bytes"):
            load_data(config({"text": {}}, "next-token"), "a")


class TestImages:
    @pytest.fixture
    def images(self, tmp_path: Path) -> None:
        from PIL import Image

        rng = np.random.default_rng(0)
        for name, classes in (("a", ("cat", "dog")), ("b", ("ant", "dog"))):
            for kind in classes:
                folder = tmp_path / name / kind
                folder.mkdir(parents=True)
                for i in range(3):
                    pixels = rng.integers(0, 256, (8 + i, 9, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / f"{i}.png")

    RESIZE = {"Resize": {"size": [8, 8]}}  # noqa: RUF012

    def test_folders_are_classes(self, config, images) -> None:
        chosen = config({"images": {}}, model="cnn", transforms=[self.RESIZE])
        held, facts = load_all(chosen)
        assert (facts.labels, facts.shape, facts.examples) == (("ant", "cat", "dog"), (3, 8, 8), 12)
        inputs, labels = batch(chosen, "b")
        assert labels.tolist() == [0, 0, 0, 2, 2, 2]
        assert inputs.dtype == torch.float32
        both = torch.cat([batch(chosen, name)[0] for name in ("a", "b")])
        assert both.mean((0, 2, 3)).abs().max() < 1e-5
        trainer = make_trainer(chosen, "a", held["a"], facts)
        trainer.gradient(np.random.default_rng(0))

    def test_augmentation_is_keyed_and_for_training_alone(self, config, images) -> None:
        chosen = config(
            {"images": {}}, model="linear", transforms=[self.RESIZE, {"Grayscale": {}}],
            augment=[{"RandomCrop": {"size": 8, "padding": 2}}, "RandomHorizontalFlip"],
        )  # fmt: skip
        trainer = make_trainer(chosen, "a", *load_all_of(chosen, "a"))
        losses = [trainer.gradient(np.random.default_rng(key)) for key in (1, 2, 1)]
        assert losses[0] == losses[2] != losses[1]
        again = load_data(chosen, "a").held().batch(slice(None))[0]
        assert torch.equal(again, load_data(chosen, "a").held().batch(slice(None))[0])

    def test_images_of_several_sizes_need_one(self, config, images) -> None:
        with pytest.raises(DataError, match="of several shapes") as caught:
            load_data(config({"images": {}}), "a")
        assert "Resize" in (caught.value.hint or "")

    def test_damaged_images_are_named(self, config, images, tmp_path) -> None:
        (tmp_path / "a" / "cat" / "0.png").write_bytes(b"no image")
        with pytest.raises(DataError, match=r"cat/0\.png"):
            load_data(config({"images": {}}, transforms=[self.RESIZE]), "a")

    @pytest.mark.parametrize(
        ("transforms", "said"),
        [
            (["Resise"], r"data.transforms.0: torchvision has no transform 'Resise'"),
            ([{"Resize": {"sise": 3}}], "data.transforms.0: Resize: .*'sise'"),
            (
                [{"Normalize": {"mean": [0], "std": [1]}}],
                "data.transforms fails on an input of shape",
            ),
        ],
    )
    def test_wrong_transforms_are_named(self, config, images, transforms, said) -> None:
        with pytest.raises(HierflError, match=said):
            load_data(config({"images": {}}, transforms=transforms), "a")

    def test_folders_without_classes(self, config, tmp_path) -> None:
        (tmp_path / "a").mkdir()
        with pytest.raises(DataError, match="Couldn't find any class folder"):
            load_data(config({"images": {}}), "a")
        with pytest.raises(DataError, match="there is no such folder"):
            load_data(config({"images": {"folder": "more"}}), "a")
