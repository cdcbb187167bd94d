"""How good the model of a run is on some data, and what it says of each sample."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import torch

from hierfl.config import CLOUD, Config
from hierfl.config.data_section import Csv, Dataset
from hierfl.errors import ConfigError, DataError
from hierfl.learning.loaded import Loaded, load_data, node_of, prepared
from hierfl.learning.prepare import Prepared
from hierfl.learning.readers.files import files_of
from hierfl.learning.readers.table import head_of
from hierfl.learning.samples import Samples, as_samples, drawing
from hierfl.learning.saved import SavedModel
from hierfl.learning.setup import judging
from hierfl.learning.task import Task
from hierfl.learning.trainer import evaluate
from hierfl.learning.user_code import guard

BATCH = 64


def score(run: SavedModel, data: Path | None, out: Path | None) -> dict[str, float]:
    """Return the figures of a run's model; write what it says of each sample.

    Args:
        run: the run.
        data: a file or a folder, read as the run's own data were; None: what the run's own
            configuration gives a cloud to judge by.
        out: a CSV file with a row for each sample; None: none is written.

    Returns:
        The figures; empty where the samples have no targets to be compared with.

    Raises:
        HierflError: for a failure that the user can correct.
    """
    samples, targets = _own(run) if data is None else _given(run, data)
    model = run.flat()
    if out is not None:
        _write(out, run, model.module, samples)
    return evaluate(run.task, model, samples) if targets else {}


def _own(run: SavedModel) -> tuple[Samples, bool]:
    loaded = load_data(run.config, CLOUD)
    samples = judging(run.config, loaded, run.facts)
    if samples is None:
        raise DataError(
            "there is nothing here to judge by: the cloud of this run has no data",
            "Give some: --data FILE_OR_FOLDER.",
        )
    return samples, True


def _given(run: SavedModel, path: Path) -> tuple[Prepared, bool]:
    """Return samples of one's own, and whether they have the targets that the task needs."""
    if not path.exists():
        raise ConfigError("--data", f"{path} is not there")
    config, targets = _pointed_at(run, path)
    run.task.config = config
    with guard(run.config.task):
        data = run.task.load(node_of(config, CLOUD))
    samples = as_samples(data.train)
    if not len(samples):
        raise DataError(f"{path}: there are no samples")
    if data.columns and tuple(data.columns) != run.facts.columns:
        raise DataError(f"{path}: its columns are {', '.join(data.columns)}")
    loaded = Loaded(run.task, samples, None, run.facts, data)
    return prepared(config, loaded, samples, run.facts), targets


def _pointed_at(run: SavedModel, path: Path) -> tuple[Config, bool]:
    """Return the configuration with its data elsewhere, and whether they have targets."""
    config = run.config
    root, file = (path, None) if path.is_dir() else (path.parent, path.name)
    update: dict[str, object] = {"root": root}
    dataset, targets = config.data.dataset, True
    if dataset.name is None:
        key, keys = dataset.reader
        changed: dict[str, object] = {"test": None}
        if file is not None and "files" in type(keys).model_fields:
            changed["files"] = file
        if isinstance(keys, Csv):
            changed["features"] = run.facts.columns
            pattern = str(changed.get("files", keys.files))
            head = head_of(files_of(root, pattern)[0], keys.delimiter)
            if not {*(keys.target or ())} <= {*head}:
                changed["target"], targets = None, False
        update["dataset"] = Dataset(**{key: keys.model_copy(update=changed)})
    data = config.data.model_copy(update=update)
    return config.model_copy(update={"data": data}), targets


def _write(out: Path, run: SavedModel, module: torch.nn.Module, samples: Samples) -> None:
    names = run.facts.labels
    try:
        with out.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            row = 0
            for columns in _scored(run.task, module.eval(), samples):
                if not row:
                    writer.writerow(["row", *columns])
                table = [
                    [_cell(name, value, names) for value in values.tolist()]
                    for name, values in columns.items()
                ]
                for cells in zip(*table, strict=True):
                    row += 1
                    writer.writerow([row, *cells])
    except OSError as error:
        raise ConfigError("--out", f"cannot write {out}: {error.strerror}") from error


def _scored(
    task: Task, module: torch.nn.Module, samples: Samples
) -> Iterator[dict[str, torch.Tensor]]:
    for start in range(0, len(samples), BATCH):
        with torch.inference_mode(), drawing(0, user_code=samples.reads), guard("scores"):
            batch = samples.batch(slice(start, min(start + BATCH, len(samples))))
            try:
                yield task.scores(module, batch)
            except NotImplementedError:
                name = type(task).__name__
                raise ConfigError(
                    "--out", f"{name} does not say what it makes of a sample",
                    "Give it a method scores(model, batch) that returns {name: tensor [k]}.",
                ) from None  # fmt: skip


def _cell(name: str, value: float, labels: tuple[int, ...] | tuple[str, ...]) -> object:
    """Return a cell: of classes with names, the name."""
    if name == "class" and labels and isinstance(labels[0], str):
        return labels[int(value)]
    return f"{value:.6g}" if isinstance(value, float) else value
