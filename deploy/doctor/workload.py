"""What nodes work with: their data, and how much room a configuration takes."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Sequence
from pathlib import Path

from deploy.doctor import resources
from deploy.doctor.finding import Finding, failure, ok
from hierfl.algorithms.base import Algorithm, State
from hierfl.config import Config, Role
from hierfl.errors import ConfigError, DataError
from hierfl.learning.dataset import Data
from hierfl.learning.flat_model import FlatModel
from hierfl.learning.setup import load_data, make_model, share_out
from hierfl.learning.sources import FORMS
from hierfl.learning.threads import one_thread
from hierfl.learning.warm_start import start_from
from hierfl.planning.describe import model_of
from hierfl.planning.plan import make_plan
from hierfl.units import plural

MB = 1 << 20

PROCESS = {"cloud": 280 * MB, "edge": 100 * MB, "device": 280 * MB}
"""What a node's process takes by itself, PyTorch included: measured on Linux, x86-64."""

FORKED = {"cloud": 280 * MB, "edge": 45 * MB, "device": 120 * MB}
"""The same where `hierfl run` starts all nodes, which share what they can."""

VECTORS = 12
"""Vectors of the model's size that a node holds at most: weights, gradients, states, frames."""

KEPT = 3
"""Checkpoints that lie beside one another while one is being written."""

ASIDE = 16 * MB
"""Of disk, for logs and results."""


def of(config: Config, nodes: Sequence[str]) -> Generator[Finding, None, str]:
    """Look at what nodes work with; return their model's fingerprint, "" if they hold none.

    Args:
        config: the configuration.
        nodes: one, or those that `hierfl run` starts here.

    Raises:
        ConfigError: there is no such model, or it does not fit the data or the first base's file.
    """
    one_thread()
    known = config.roles()
    roles = {known[node] for node in nodes}
    free, held = resources.available(), None
    if roles != {"edge"}:
        found, held = data(config, nodes)
        yield found
    chosen = model(config, held)
    if chosen is None or not nodes:
        return ""
    if config.start_from is not None and "cloud" in roles:
        start_from(chosen, config.start_from)
    name = nodes[0] if len(nodes) == 1 else f"{len(nodes)} nodes"
    folder = Path("runs") if "cloud" in roles else Path(".hierfl") / config.name
    yield resources.disk(name, folder, disk_needed(config, nodes, chosen))
    yield resources.memory(name, memory_needed(config, nodes, chosen, held), free)
    return "" if roles == {"edge"} else chosen.layout.fingerprint()


def data(config: Config, nodes: Collection[str]) -> tuple[Finding, Data | None]:
    """See whether the data set is here, and whether devices have some of it.

    Args:
        config: the configuration.
        nodes: devices, and the cloud, which needs the data set to judge by.
    """
    what = f"data {config.data.dataset}"
    try:
        held = load_data(config)
        shares = share_out(config, held)
    except (DataError, ConfigError) as error:
        return failure(what, f"{error.message}.", error.hint or ""), None
    sizes = [len(shares[node]) for node in nodes if node in shares]
    text = f"{plural(len(held.train), 'sample')} to train, {len(held.test):,} to judge by"
    if len(sizes) == 1:
        text += f"; {sizes[0]:,} for {next(node for node in nodes if node in shares)}"
    elif sizes:
        text += f"; at least {min(sizes):,} for each of {len(sizes)} devices"
    return ok(what, text), held


def model(config: Config, held: Data | None) -> FlatModel | None:
    """Return the configuration's model; None if it is not known without the data.

    Raises:
        ConfigError: there is no such model, or it does not fit the data.
    """
    if held is not None:
        return make_model(config, held)
    return model_of(config) if config.data.dataset in FORMS else None


def memory_needed(config: Config, nodes: Sequence[str], model: FlatModel, held: Data | None) -> int:
    """Return the bytes of memory that one node's process will take, or several forked ones."""
    process, roles = PROCESS if len(nodes) == 1 else FORKED, config.roles()
    return sum(process[roles[node]] + _beside(config, roles[node], model, held) for node in nodes)


def _beside(config: Config, role: str, model: FlatModel, held: Data | None) -> int:
    """Return the bytes of a node's model and data."""
    vectors = VECTORS * 4 * (model.layout.d + model.buffer_layout.d)
    if role == "edge" or held is None:
        return vectors
    whole = sum(split.inputs.nbytes + split.labels.nbytes for split in (held.train, held.test))
    devices = sum(len(names) for names in config.tree().values())
    return vectors + whole + (whole // devices if role == "device" else 0)


def disk_needed(config: Config, nodes: Iterable[str], model: FlatModel) -> int:
    """Return the bytes that the nodes' checkpoints, logs and results will take."""
    plan = make_plan(config, model.layout, model.buffer_layout.d)
    algorithm, roles = plan.algorithm, config.roles()
    base = 4 * (model.layout.d + model.buffer_layout.d)
    return ASIDE + sum(KEPT * (base + _size(_state(algorithm, roles[node]))) for node in nodes)


def _state(algorithm: Algorithm, role: Role) -> State:
    states = {
        "cloud": algorithm.cloud_state,
        "edge": algorithm.edge_state,
        "device": algorithm.device_state,
    }
    return states[role]()


def _size(state: State) -> int:
    return sum(array.nbytes for array in state.values())
