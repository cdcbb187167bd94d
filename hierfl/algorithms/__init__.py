"""The algorithms, one file each, and how a name in a topology finds one."""

from __future__ import annotations

from difflib import get_close_matches

from hierfl.algorithms.base import Algorithm
from hierfl.algorithms.dc_hier_signsgd import DCHierSignSGD
from hierfl.algorithms.distributed_lion import DistributedLion, DistributedLionMean
from hierfl.algorithms.ef_fedavg import EFFedAvg
from hierfl.algorithms.ef_lion import EFLion
from hierfl.algorithms.ef_signsgd import EFSignSGD
from hierfl.algorithms.hier_fedavg import HierFedAvg
from hierfl.algorithms.hier_qsgd import HierQSGD
from hierfl.algorithms.hier_sgd import HierSGD
from hierfl.algorithms.hier_signsgd import HierSignSGD
from hierfl.algorithms.signsgd_fv import SignSGDFV
from hierfl.algorithms.sparse_signsgd import SparseSignSGD
from hierfl.algorithms.sparseloco import SparseLoCo
from hierfl.algorithms.sto_signsgd import StoSignSGD
from hierfl.algorithms.tally_corrected import TallyCorrected
from hierfl.algorithms.z_signfedavg import ZSignFedAvg
from hierfl.errors import ConfigError
from hierfl.loader import load

BUILT_IN: dict[str, type[Algorithm]] = {
    "hier-signsgd": HierSignSGD,
    "dc-hier-signsgd": DCHierSignSGD,
    "hier-sgd": HierSGD,
    "ef-lion": EFLion,
    "ef-signsgd": EFSignSGD,
    "tally-corrected": TallyCorrected,
    "sparse-signsgd": SparseSignSGD,
    "hier-qsgd": HierQSGD,
    "hier-fedavg": HierFedAvg,
    "ef-fedavg": EFFedAvg,
    "distributed-lion": DistributedLion,
    "distributed-lion-mean": DistributedLionMean,
    "z-signfedavg": ZSignFedAvg,
    "sto-signsgd": StoSignSGD,
    "signsgd-fv": SignSGDFV,
    "sparseloco": SparseLoCo,
}


def algorithm_class(name: str) -> type[Algorithm]:
    """Return the algorithm of a built-in's name or a "module:attribute".

    Raises:
        ConfigError: if there is none.
    """
    if ":" not in name:
        if name in BUILT_IN:
            return BUILT_IN[name]
        close = get_close_matches(name, BUILT_IN, n=1)
        raise ConfigError(
            "algorithm.name",
            f"there is no algorithm {name!r}" + (f"; did you mean {close[0]}?" if close else ""),
            f"Built in are {', '.join(BUILT_IN)}; your own is named as my_package.algo:MySign.",
        )
    found = load(name, "algorithm.name")
    if not (isinstance(found, type) and issubclass(found, Algorithm)):
        raise ConfigError(
            "algorithm.name",
            f"{name} is no subclass of hierfl.Algorithm",
        )
    return found
