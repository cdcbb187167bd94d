"""Who holds which training samples. Pure functions of the labels and a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from hierfl.errors import ConfigError

Kind = Literal["iid", "dirichlet", "shards", "disjoint"]
Within = Literal["federation", "edge"]
Indices = npt.NDArray[np.int64]

_STREAM = 0x70617274  # keeps these draws apart from all others that use the same seed


def partition(
    labels: npt.NDArray[np.integer],
    tree: Mapping[str, Sequence[str]],
    kind: Kind,
    *,
    alpha: float = 0.3,
    within: Within = "federation",
    classes: int = 2,
    seed: int,
) -> dict[str, Indices]:
    """Share the samples out among the devices, each sample to exactly one.

    - `iid`: at random, in equal shares (give or take one).
    - `dirichlet`: each class is divided among all devices in proportions from a symmetric
      Dirichlet(alpha) distribution (Hsu et al. 2019, arXiv 1909.06335); the smaller alpha, the
      more the devices differ. Within an edge: each edge has an iid share, in proportion to its
      devices, which these divide so among themselves; devices differ, and edges do not.
    - `shards`: each edge holds only `classes` classes, dealt from a shuffled deck so that all are
      held; edges with a class in common divide it evenly, and so do the devices of an edge. The
      edges differ as much as they can, the devices of one edge not at all.
    - `disjoint`: the classes are dealt out, to each edge as many as to the others, give or take
      one, so that no edge holds a class of another's; its devices divide them evenly.

    Args:
        labels: integers [n], the class of each sample.
        tree: names of each edge's devices.
        kind: as above.
        alpha: positive, for `dirichlet`.
        within: among whom a class is divided, for `dirichlet`.
        classes: per edge, for `shards`.
        seed: not negative.

    Returns:
        Sorted positions in `labels` for each device, int64.

    Raises:
        ConfigError: a device would be left without samples, or the classes cannot be dealt.
    """
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, _STREAM])))
    devices = [device for names in tree.values() for device in names]
    groups = list(tree.values())
    if kind == "shards":
        pools = _shards(labels, len(tree), classes, generator)
    elif kind == "disjoint":
        pools = _disjoint(labels, len(tree), generator)
    elif within == "edge":
        ends = np.cumsum([len(names) for names in groups])[:-1] * labels.size // len(devices)
        pools = np.split(generator.permutation(labels.size), ends)
    else:
        groups, pools = [devices], [np.arange(labels.size)]
    parts = []
    for names, pool in zip(groups, pools, strict=True):
        if kind == "dirichlet":
            parts += _dirichlet(pool, labels, len(names), alpha, generator)
        else:
            parts += _deal(pool, len(names), generator)
    shares = dict(zip(devices, parts, strict=True))
    for device, share in shares.items():
        if not share.size:
            raise ConfigError(
                "data.partition",
                f"{kind} leaves {device} without samples ({labels.size} in all)",
                "use fewer devices, a larger alpha, or another seed",
            )
    return {device: np.sort(share) for device, share in shares.items()}


def _deal(samples: Indices, hands: int, generator: np.random.Generator) -> list[Indices]:
    return np.array_split(generator.permutation(samples), hands)


def _dirichlet(
    pool: Indices,
    labels: npt.NDArray[np.integer],
    devices: int,
    alpha: float,
    generator: np.random.Generator,
) -> list[Indices]:
    parts: list[list[Indices]] = [[] for _ in range(devices)]
    for label in np.unique(labels[pool]):
        samples = generator.permutation(pool[labels[pool] == label])
        shares = generator.dirichlet(np.full(devices, alpha))
        cuts = np.rint(np.cumsum(shares)[:-1] * samples.size).astype(np.int64)
        for part, piece in zip(parts, np.split(samples, cuts), strict=True):
            part.append(piece)
    return [np.concatenate(part) for part in parts]


def _shards(
    labels: npt.NDArray[np.integer], edges: int, classes: int, generator: np.random.Generator
) -> list[Indices]:
    known = np.unique(labels)
    if not classes <= known.size <= classes * edges:
        raise ConfigError(
            "data.partition.classes",
            f"{edges} edges with {classes} classes each cannot share out {known.size} classes",
            f"choose {-(-known.size // edges)} to {known.size}",
        )
    deck = generator.permutation(known)
    hands = [deck[np.arange(e * classes, (e + 1) * classes) % deck.size] for e in range(edges)]
    parts: list[list[Indices]] = [[] for _ in range(edges)]
    for label in known:
        holders = [edge for edge, hand in enumerate(hands) if label in hand]
        pieces = _deal(np.flatnonzero(labels == label), len(holders), generator)
        for edge, piece in zip(holders, pieces, strict=True):
            parts[edge].append(piece)
    return [np.concatenate(part) for part in parts]


def _disjoint(
    labels: npt.NDArray[np.integer], edges: int, generator: np.random.Generator
) -> list[Indices]:
    hands = np.array_split(generator.permutation(np.unique(labels)), edges)
    return [np.flatnonzero(np.isin(labels, hand)) for hand in hands]
