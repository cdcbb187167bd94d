"""What can be tried before a run: that shares can be made, and that a device can learn."""

from __future__ import annotations

from contextlib import suppress

from hierfl.config import CLOUD, Config
from hierfl.errors import DataError
from hierfl.learning.flat_model import FlatModel
from hierfl.learning.loaded import known, load_data, share_out
from hierfl.learning.setup import facts_for, make_trainer, model_for
from hierfl.learning.sources import FORMS
from hierfl.learning.user_code import is_own


def rehearse(config: Config) -> FlatModel:
    """Return a configuration's model, after what can be tried on this machine.

    A built-in set need not be here; if it is, it is shared out. Of data of one's own, one device
    takes a batch through the model and the loss. Where each device has data of its own, it is the
    first whose data are here.

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
    chosen = next((name for name in devices if _is_here(config, name)), devices[0])
    loaded = load_data(config, chosen if config.data.is_own else CLOUD)
    return make_trainer(config, chosen, loaded, known(loaded)).model


def _is_here(config: Config, name: str) -> bool:
    root = config.data_root(name)
    return root is not None and root.is_dir()
