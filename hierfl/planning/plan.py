"""From a configuration to what it means: the algorithm, the codecs, the bytes on each link."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from hierfl.algorithms import BUILT_IN, algorithm_class
from hierfl.algorithms.base import Algorithm, Settings
from hierfl.codecs import CODECS, Codec, error_feedback, make_codec
from hierfl.config import Config, Hop, Uplink
from hierfl.errors import ConfigError
from hierfl.link.frames import frame_limit
from hierfl.numerics.layout import Layout
from hierfl.numerics.wireless import Air
from hierfl.tls.policy import refuse_exposure

TALLY = "tally"


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
        raise _cannot_report(config.algorithm.name, chosen.uplinks, uplink)
    algorithm = config.algorithm.model_copy(update={"lr": config.algorithm.lr or lr})
    codec = config.downlink.codec or chosen.downlink
    resolved = config.model_copy(
        update={
            "algorithm": algorithm,
            "downlink": config.downlink.model_copy(update={"codec": codec}),
            "uplink": config.uplink.model_copy(update={"codec": uplink}),
        }
    )
    if config.channel is not None:
        _refuse_air(config, chosen)
    any_model = Layout(("any",), ((8,),))
    make_algorithm(resolved, any_model)
    make_downlink(resolved, any_model)
    if config.runtime == "process":
        refuse_exposure(config)
    return resolved


def _refuse_air(config: Config, chosen: type[Algorithm]) -> None:
    """Raise ConfigError where a channel cannot be."""
    if config.runtime != "memory":
        raise ConfigError(
            "channel",
            f"with runtime: {config.runtime} each ballot travels by itself, and none add up in the "
            "air",
            "A channel is emulated in one process: set runtime: memory.",
        )
    if not chosen.over_the_air:
        able = [name for name, known in BUILT_IN.items() if known.over_the_air]
        raise ConfigError(
            "channel",
            f"{config.algorithm.name} does not average vectors, which is all that air can do",
            f"The ballots of {' and '.join(able)} can be sent through it.",
        )


def make_algorithm(config: Config, layout: Layout) -> Algorithm:
    """Return the algorithm of a resolved configuration for a model."""
    settings = Settings(
        seed=config.seed,
        steps=config.algorithm.edge_steps,
        momentum=config.algorithm.momentum,
        participation=config.algorithm.participation,
        tie=config.algorithm.tie,
        options=config.algorithm.options,
        uplink=_make_uplink(config, layout),
        air=Air(**config.channel.model_dump(exclude_none=True)) if config.channel else None,
    )
    return algorithm_class(config.algorithm.name)(layout, settings)


def make_downlink(config: Config, layout: Layout) -> Codec:
    """Return the downlink's codec of a resolved configuration for a model.

    Raises:
        ConfigError: if there is no such codec, or it has no such parameter.
    """
    return error_feedback.checked(_make_codec(config.downlink, "downlink", layout), "downlink")


def _make_uplink(config: Config, layout: Layout) -> Codec | None:
    """Return the codec of the reports, or None where it is the algorithm's own."""
    default = algorithm_class(config.algorithm.name).uplinks[0]
    if config.uplink in (Uplink(), Uplink(codec=default)):
        return None
    return _make_codec(config.uplink, "uplink", layout)


def _make_codec(hop: Hop, section: str, layout: Layout) -> Codec:
    given = {"bits": hop.bits, "fraction": hop.fraction}
    parameters = {key: value for key, value in given.items() if value is not None}
    assert hop.codec is not None, "the configuration is not resolved"
    if hop.codec == TALLY:
        raise ConfigError(f"{section}.{next(iter(parameters))}", "a tally has no such parameter")
    try:
        return make_codec(hop.codec, layout, **parameters)
    except ConfigError as error:
        message = error.message.removeprefix(f"{error.path}: ")
        raise ConfigError(f"{section}.{error.path}", message, error.hint) from None


def _cannot_report(algorithm: str, uplinks: tuple[str, ...], asked: str) -> ConfigError:
    if asked == TALLY:
        why = ": it sends no counts of votes, which a tally is"
    elif asked not in CODECS:
        why = ": there is no such codec"
    elif uplinks == (TALLY,):
        why = ": its reports are counts of votes, which a tally sends exactly and in few bits"
    else:
        why = ": its edges keep no residual, and this codec is biased"
    return ConfigError(
        "uplink.codec",
        f"{algorithm} cannot report with {asked!r}{why}",
        f"It reports with {' or '.join(uplinks)}.",
    )


def digest(config: Config) -> str:
    """Return the fingerprint of those keys on which all nodes must agree."""
    tree = config.model_dump(
        mode="json",
        include={"seed", "model", "data", "algorithm", "downlink", "uplink", "channel"},
    )
    del tree["data"]["root"]
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def longest_frame(config: Config, layout: Layout, buffers: int) -> int:
    """Return the longest frame, in bytes, for a model of this layout and so many buffers.

    It holds the whole model and its buffers in float32, or a change or a report (some codecs' are
    longer), or what a device is told that has missed all of a round: its decisions, of two bits a
    coordinate at least, and the opening's answer.
    """
    algorithm = make_algorithm(config, layout)
    decision = max(algorithm.sizes()[1], layout.d // 4 + 1)
    missed = config.algorithm.edge_steps * decision + sum(algorithm.opening_sizes())
    longest = max(4 * layout.d, algorithm.sizes()[2], make_downlink(config, layout).sizes()[1])
    return frame_limit(max(longest + 4 * buffers, missed))


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
