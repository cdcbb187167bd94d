"""Checks of the nodes' data, and of the disk space and memory that a configuration needs."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Sequence
from pathlib import Path

from deploy.doctor import resources
from deploy.doctor.finding import Finding, failure, ok
from hierfl.algorithms.base import Algorithm, State
from hierfl.config import Config, Role
from hierfl.errors import HierflError
from hierfl.learning.flat_model import FlatModel
from hierfl.learning.loaded import Loaded, known, load_data, share_out
from hierfl.learning.model_file import start_from
from hierfl.learning.samples import nbytes
from hierfl.learning.setup import make_model
from hierfl.learning.sources import FORMS
from hierfl.learning.threads import one_thread
from hierfl.planning.describe import model_of
from hierfl.planning.plan import make_plan
from hierfl.protocol.facts import merge
from hierfl.units import plural

MB = 1 << 20

PROCESS = {"cloud": 280 * MB, "edge": 100 * MB, "device": 280 * MB}
"""Bytes of a node's process without its model and data, PyTorch included; Linux, x86-64."""

FORKED = {"cloud": 280 * MB, "edge": 45 * MB, "device": 120 * MB}
"""The same for nodes started by one `hierfl run`, which share memory."""

VECTORS = 12
"""The most vectors of the model's size that a node holds: weights, gradients, states, frames."""

KEPT = 3
"""Checkpoints that exist at the same time while one is being written."""

ASIDE = 16 * MB
"""Bytes of disk space for logs and results."""


def of(config: Config, nodes: Sequence[str]) -> Generator[Finding, None, str]:
    """Check the nodes' data, disk space and memory; return the fingerprint of their model.

    Args:
        config: the configuration.
        nodes: one node, or those that `hierfl run` starts here.

    Returns:
        The fingerprint; "" if the nodes have no model.

    Raises:
        ConfigError: if there is no such model, or it does not fit the data or `start_from`.
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
    return "" if roles == {"edge"} or config.data.is_own else chosen.fingerprint()


def data(config: Config, nodes: Collection[str]) -> tuple[Finding, Loaded | None]:
    """Check that the data set is on this machine and that each device has samples.

    Args:
        config: the configuration.
        nodes: devices, and the cloud, which needs the data set for evaluation.
    """
    what = f"data {config.data_name}"
    try:
        if config.data.is_own:
            return own_data(config, nodes)
        held = load_data(config)
        shares = share_out(config, held)
    except HierflError as error:
        return failure(what, f"{error.message}.", error.hint or ""), None
    sizes = [len(shares[node]) for node in nodes if node in shares]
    text = f"{plural(len(held.held()), 'sample')} for training, "
    text += f"{len(held.test or ()):,} for evaluation"
    if len(sizes) == 1:
        text += f"; {sizes[0]:,} for {next(node for node in nodes if node in shares)}"
    elif sizes:
        text += f"; at least {min(sizes):,} for each of {len(sizes)} devices"
    return ok(what, text), held


def own_data(config: Config, nodes: Collection[str]) -> tuple[Finding, Loaded | None]:
    """See what data nodes have of their own.

    Raises:
        HierflError: a device's are not there, not as they should be, or not like another's.
    """
    devices = [node for node in nodes if config.roles()[node] == "device"]
    held = {node: load_data(config, node) for node in devices}
    if held:
        merge({node: known(one) for node, one in held.items()})
    sizes = [len(one.held()) for one in held.values()]
    text = "the cloud needs none"
    if sizes:
        where = devices[0] if len(sizes) == 1 else f"{len(sizes)} devices"
        text = f"{plural(sum(sizes), 'sample')} of {where}"
    return ok(f"data {config.data_name}", text), next(iter(held.values()), None)


def model(config: Config, held: Loaded | None) -> FlatModel | None:
    """Return the configuration's model; None if it cannot be built without the data.

    Raises:
        ConfigError: if there is no such model, or it does not fit the data.
    """
    if held is not None:
        return make_model(config, held, known(held))
    return model_of(config) if config.data.dataset.name in FORMS else None


def memory_needed(
    config: Config, nodes: Sequence[str], model: FlatModel, held: Loaded | None
) -> int:
    """Return the bytes of memory of one node's process, or of several forked ones."""
    process, roles = PROCESS if len(nodes) == 1 else FORKED, config.roles()
    return sum(process[roles[node]] + _beside(config, roles[node], model, held) for node in nodes)


def _beside(config: Config, role: str, model: FlatModel, held: Loaded | None) -> int:
    """Return the bytes of a node's model and data."""
    vectors = VECTORS * 4 * (model.layout.d + model.buffer_layout.d)
    if role == "edge" or held is None:
        return vectors
    whole = sum(nbytes(samples) for samples in (held.train, held.test) if samples is not None)
    devices = sum(len(names) for names in config.tree().values())
    shared = role == "device" and not config.data.is_own
    return vectors + whole + (whole // devices if shared else 0)


def disk_needed(config: Config, nodes: Iterable[str], model: FlatModel) -> int:
    """Return the bytes of the nodes' checkpoints, logs and results."""
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
