"""From a configuration to what it means: made once, when the model is known, and handed on."""

from __future__ import annotations

from dataclasses import dataclass

from hierfl.algorithms import BUILT_IN, algorithm_class
from hierfl.algorithms.base import Algorithm, Settings
from hierfl.algorithms.opening import OpeningLengths, opening_of
from hierfl.codecs import AnyCodec, try_codec
from hierfl.config import Config
from hierfl.config.digest import Digest, digest
from hierfl.config.types import name_of
from hierfl.errors import ConfigError
from hierfl.link.frames import frame_limit
from hierfl.numerics.layout import Layout
from hierfl.numerics.wireless import Air
from hierfl.planning.hops import make_downlink, make_uplink
from hierfl.planning.privacy import with_noise
from hierfl.protocol.evaluated import LONGEST as LONGEST_METRICS
from hierfl.tls.policy import refuse_exposure

ANY_MODEL = Layout(("any",), ((8,),))
"""A model to try a configuration with before its own is known."""


@dataclass(frozen=True)
class LinkPayloads:
    """Payload bytes on each link, as far as they are known before a run.

    Attributes:
        ballot: device to edge, a step.
        decision: edge to device, a step but a round's last.
        report: edge to cloud, a round.
        downlink: cloud to edge and edge to device, a round.
        whole: the first base, once.
        buffers: the model's buffers, which are in `report`, `downlink` and `whole`.
        opening: in a round's opening; 0 where there is none.
    """

    ballot: int
    decision: int
    report: int
    downlink: int
    whole: int
    buffers: int
    opening: OpeningLengths


@dataclass(frozen=True)
class Plan:
    """What a resolved configuration means for one model.

    Attributes:
        algorithm: what ballots, decisions and reports are.
        downlink: the codec of the change of the base.
        sizes: of what is sent.
        frame_limit: the longest frame of a link, in bytes.
        digest: of the configuration.
    """

    algorithm: Algorithm
    downlink: AnyCodec
    sizes: LinkPayloads
    frame_limit: int
    digest: Digest


def make_plan(config: Config, layout: Layout, buffers: int) -> Plan:
    """Return the plan of a resolved configuration for a model.

    Args:
        config: the configuration.
        layout: the model's parameters.
        buffers: how many numbers the model's buffers hold.

    Raises:
        ConfigError: if an option or a codec does not go with the algorithm.
    """
    algorithm, downlink = _make_algorithm(config, layout), make_downlink(config.downlink, layout)
    sizes = _payloads(algorithm, downlink, 4 * buffers)
    longest = _longest(algorithm, sizes, config.algorithm.edge_steps)
    if config.data.is_own:  # then devices may judge models, and send metrics
        longest = max(longest, LONGEST_METRICS)
    limit = frame_limit(longest)
    return Plan(algorithm, downlink, sizes, limit, digest(config))


def _make_algorithm(config: Config, layout: Layout) -> Algorithm:
    chosen = algorithm_class(config.algorithm.name)
    settings = Settings(
        seed=config.seed,
        steps=config.algorithm.edge_steps,
        momentum=config.algorithm.momentum,
        participation=config.algorithm.participation,
        tie=config.algorithm.tie,
        options=config.algorithm.options,
        uplink=make_uplink(config.uplink, config.algorithm.name, chosen, layout),
        air=Air(**config.channel.model_dump(exclude_none=True)) if config.channel else None,
    )
    return chosen(layout, settings)


def _payloads(algorithm: Algorithm, downlink: AnyCodec, extra: int) -> LinkPayloads:
    ballot, decision, report = algorithm.sizes()
    return LinkPayloads(
        ballot=ballot,
        decision=decision,
        report=report + extra,
        downlink=downlink.sizes().most + extra,
        whole=4 * algorithm.layout.d + extra,
        buffers=extra,
        opening=opening_of(algorithm).opening_sizes(),
    )


def _longest(algorithm: Algorithm, sizes: LinkPayloads, steps: int) -> int:
    """Return the longest payload of a message, in bytes.

    It is the whole model and its buffers in float32, or a change or a report (some codecs' are
    longer), or what a device is sent that has missed all of a round: its decisions, of two bits a
    coordinate at least, and the opening's answer.
    """
    decision = max(sizes.decision, algorithm.layout.d // 4 + 1)
    missed = steps * decision + sum(sizes.opening)
    return max(sizes.whole, sizes.report, sizes.downlink, missed)


def resolve(config: Config) -> Config:
    """Fill in what the configuration leaves to the algorithm: learning rate and codecs.

    Raises:
        ConfigError: if there is no such algorithm, an option or a codec does not go with it, or
            processes would talk in plain text beyond this machine.
    """
    if config.app is not None:
        refuse_exposure(config)
        return config
    chosen = algorithm_class(config.algorithm.name)
    config = with_noise(config, chosen)
    lr = chosen.lr.get(name_of(config.model), chosen.lr["default"])
    uplink = config.uplink.codec or chosen.uplink
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
    _try_codecs(resolved, make_plan(resolved, ANY_MODEL, 0))
    if config.runtime == "process":
        refuse_exposure(config)
    return resolved


def _try_codecs(config: Config, plan: Plan) -> None:
    """Try the codecs of the user's own."""
    for section, hop, codec in (
        ("downlink", config.downlink, plan.downlink),
        ("uplink", config.uplink, plan.algorithm.settings.uplink),
    ):
        if codec is not None and ":" in str(hop.codec):
            try_codec(f"{section}.codec", codec, ANY_MODEL)


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
