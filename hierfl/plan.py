"""From a configuration to what it means: the algorithm, the codecs, the bytes on each link."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from hierfl.algorithms import algorithm_class
from hierfl.algorithms.base import Algorithm, Settings
from hierfl.config import Config
from hierfl.errors import ConfigError
from hierfl.link.envelope import frame_limit
from hierfl.numerics.layout import Layout
from hierfl.numerics.quantize import Codec, make_codec
from hierfl.security import refuse_exposure


def resolve(config: Config) -> Config:
    """Fill in what the configuration leaves to the algorithm: learning rate and codecs.

    Raises:
        ConfigError: if there is no such algorithm, an option or a codec does not go with it, or
            processes would talk in plain text beyond this machine.
    """
    chosen = algorithm_class(config.algorithm.name)
    lr = chosen.lr.get(config.model, chosen.lr["default"])
    uplink = config.uplink.codec or chosen.uplinks[0]
    if uplink not in chosen.uplinks:
        raise ConfigError(
            "uplink.codec",
            f"{config.algorithm.name} cannot report with {uplink!r}",
            f"It reports with {' or '.join(chosen.uplinks)}.",
        )
    algorithm = config.algorithm.model_copy(update={"lr": config.algorithm.lr or lr})
    codec = config.downlink.codec or chosen.downlink
    resolved = config.model_copy(
        update={
            "algorithm": algorithm,
            "downlink": config.downlink.model_copy(update={"codec": codec}),
            "uplink": config.uplink.model_copy(update={"codec": uplink}),
        }
    )
    any_model = Layout(("any",), ((8,),))
    make_algorithm(resolved, any_model)
    make_downlink(resolved, any_model)
    if config.runtime == "process":
        refuse_exposure(config)
    return resolved


def make_algorithm(config: Config, layout: Layout) -> Algorithm:
    """Return the algorithm of a resolved configuration for a model."""
    settings = Settings(
        seed=config.seed,
        steps=config.algorithm.edge_steps,
        momentum=config.algorithm.momentum,
        tie=config.algorithm.tie,
        options=config.algorithm.options,
    )
    return algorithm_class(config.algorithm.name)(layout, settings)


def make_downlink(config: Config, layout: Layout) -> Codec:
    """Return the downlink's codec of a resolved configuration for a model.

    Raises:
        ConfigError: if there is no such codec, or it has no such parameter.
    """
    down = config.downlink
    given = {"bits": down.bits, "fraction": down.fraction}
    parameters = {key: value for key, value in given.items() if value is not None}
    assert down.codec is not None, "the configuration is not resolved"
    try:
        return make_codec(down.codec, layout, **parameters)
    except ConfigError as error:
        message = error.message.removeprefix(f"{error.path}: ")
        raise ConfigError(f"downlink.{error.path}", message, error.hint) from None


def digest(config: Config) -> str:
    """Return the fingerprint of those keys on which all nodes must agree."""
    tree = config.model_dump(
        mode="json", include={"seed", "model", "data", "algorithm", "downlink", "uplink"}
    )
    del tree["data"]["root"]
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def longest_frame(config: Config, layout: Layout, buffers: int) -> int:
    """Return the longest frame, in bytes, for a model of this layout and so many buffers.

    It holds the whole model and its buffers in float32, or what a device is told that has missed
    all of a round: its decisions, of two bits a coordinate at least, and the opening's answer.
    """
    algorithm = make_algorithm(config, layout)
    decision = max(algorithm.sizes()[1], layout.d // 4 + 1)
    missed = config.algorithm.edge_steps * decision + sum(algorithm.opening_sizes())
    return frame_limit(max(4 * (layout.d + buffers), missed))


@dataclass(frozen=True)
class BytesPlan:
    """Payload bytes on each link, as far as they are known before a run.

    Attributes:
        ballot: device to edge, a step.
        decision: edge to device, a step but a round's last.
        report: edge to cloud, a round.
        downlink: cloud to edge and edge to device, a round.
        whole: the first base, once.
        opening: in a round's opening, device to edge, edge to cloud, cloud to edge and edge to
            device; 0 where there is none.
    """

    ballot: int
    decision: int
    report: int
    downlink: int
    whole: int
    opening: tuple[int, int, int, int]


def plan_bytes(config: Config, layout: Layout, buffers: int) -> BytesPlan:
    """Return the plan of a resolved configuration for a model."""
    algorithm = make_algorithm(config, layout)
    ballot, decision, report = algorithm.sizes()
    _, downlink = make_downlink(config, layout).sizes()
    extra = 4 * buffers
    return BytesPlan(
        ballot,
        decision,
        report + extra,
        downlink + extra,
        4 * layout.d + extra,
        algorithm.opening_sizes(),
    )
