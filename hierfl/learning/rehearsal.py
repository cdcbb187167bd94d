"""What can be tried before a run: that shares can be made, and that a device can learn."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from hierfl.config import CLOUD, Config
from hierfl.errors import DataError
from hierfl.learning.flat_model import FlatModel
from hierfl.learning.loaded import known, load_data, share_out
from hierfl.learning.setup import facts_for, make_trainer, model_for, nobody_judges
from hierfl.learning.sources import FORMS
from hierfl.learning.user_code import is_own
from hierfl.protocol.facts import merge


@dataclass(frozen=True)
class Rehearsed:
    """What came of trying a configuration.

    Attributes:
        model: the configuration's.
        metrics: bytes in which a device says how good a model is; 0: devices do not judge models,
            or it is not known yet.
    """

    model: FlatModel
    metrics: int = 0


def rehearse(config: Config) -> Rehearsed:
    """Return a configuration's model, after what can be tried on this machine.

    A built-in set need not be here; if it is, it is shared out. Of data of one's own, one device
    takes a batch through the model and the loss: the one with the fewest samples. Where each
    device has data of its own, all that are here are read and merged.

    Raises:
        HierflError: the data, the model, the task or the partition is not as it should be.
    """
    config = config.model_copy(update={"device": "cpu"})  # nodes' GPUs need not be here
    if not is_own(config.task) and config.data.dataset.name in FORMS:
        model = model_for(config, *facts_for(config))
        if not config.data.is_own:
            with suppress(DataError):  # it is not on this machine
                share_out(config, load_data(config))
        return Rehearsed(model)
    devices = [device for edge in config.edges for device in edge.devices]
    if not config.data.is_own:
        loaded = load_data(config)
        shares = share_out(config, loaded)
        least = min(shares, key=lambda name: len(shares[name]))
        return Rehearsed(make_trainer(config, least, loaded, known(loaded)).model)
    here = [name for name in devices if _is_here(config, name)] or devices[:1]
    held = {name: load_data(config, name) for name in here}
    found = {name: known(loaded) for name, loaded in held.items()}
    if _is_here(config, CLOUD) and (judged := load_data(config, CLOUD).facts):
        found[CLOUD] = judged
    facts = merge(found)
    least = min(here, key=lambda name: len(held[name].held()))
    trainer = make_trainer(config, least, held[least], facts)
    at_cloud = config.evaluate.at == "cloud" or (config.evaluate.at is None and CLOUD in found)
    if config.evaluate.compares and not at_cloud and all(one.test is None for one in held.values()):
        raise nobody_judges()
    return Rehearsed(trainer.model, 0 if at_cloud else trainer.metrics_bytes)


def _is_here(config: Config, name: str) -> bool:
    root = config.data_root(name)
    return root is not None and root.is_dir()
