"""What can be tried before a run: that shares can be made, and that a device can learn."""

from __future__ import annotations

from contextlib import suppress

from hierfl.config import Config
from hierfl.errors import DataError
from hierfl.learning.flat_model import FlatModel
from hierfl.learning.loaded import known, load_data, share_out
from hierfl.learning.setup import facts_for, make_trainer, model_for
from hierfl.learning.sources import FORMS
from hierfl.learning.user_code import is_own
from hierfl.protocol.facts import merge


def rehearse(config: Config) -> FlatModel:
    """Return a configuration's model, after what can be tried on this machine.

    A built-in set need not be here; if it is, it is shared out. Of data of one's own, one device
    takes a batch through the model and the loss. Where each device has data of its own, all that
    are here are read and merged, and it is the one with the fewest samples.

    Raises:
        HierflError: the data, the model, the task or the partition is not as it should be.
    """
    config = config.model_copy(update={"device": "cpu"})  # nodes' GPUs need not be here
    if not is_own(config.task) and config.data.dataset.name in FORMS:
        model = model_for(config, *facts_for(config))
        with suppress(DataError):  # it is not on this machine
            share_out(config, load_data(config))
        return model
    devices = [device for edge in config.edges for device in edge.devices]
    if not config.data.is_own:
        loaded = load_data(config)
        return make_trainer(config, devices[0], loaded, known(loaded)).model
    here = [name for name in devices if _is_here(config, name)] or devices[:1]
    held = {name: load_data(config, name) for name in here}
    facts = merge({name: known(loaded) for name, loaded in held.items()})
    least = min(here, key=lambda name: len(held[name].held()))
    return make_trainer(config, least, held[least], facts).model


def _is_here(config: Config, name: str) -> bool:
    root = config.data_root(name)
    return root is not None and root.is_dir()
