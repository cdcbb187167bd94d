"""The sections of a configuration: every key, its default and its range."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from hierfl.config.types import (
    Address,
    Bool,
    Delay,
    Float,
    Int,
    Name,
    Names,
    Option,
    Part,
    Place,
    Rate,
    Seconds,
    Share,
    Text,
)
from hierfl.config.validators import wrong


class Iid(Part):
    """Every device draws from the same distribution."""

    kind: Literal["iid"] = "iid"


class Dirichlet(Part):
    """Each class is shared out by a Dirichlet(alpha) draw: among all devices, or inside edges.

    `within: edge` first gives every edge an iid share of the samples.
    """

    kind: Literal["dirichlet"] = "dirichlet"
    alpha: Annotated[Float, Field(gt=0)] = 0.3
    within: Literal["federation", "edge"] = "federation"


class Shards(Part):
    """Each edge holds `classes` classes only, some of which others may hold too."""

    kind: Literal["shards"] = "shards"
    classes: Annotated[Int, Field(ge=1)] = 2


class Disjoint(Part):
    """Each edge holds classes that no other holds, as many as the others, give or take one."""

    kind: Literal["disjoint"] = "disjoint"


Partition = Annotated[Iid | Dirichlet | Shards | Disjoint, Field(discriminator="kind")]


class Data(Part):
    """What is learnt from.

    The share `validation` of the training set is held out, and the cloud judges models by it
    instead of by the test set. `homes` is the tree by which the data is shared out, where that is
    not the federation's own: devices that have moved to another edge keep their data.
    """

    dataset: Text = "fashion-mnist"
    root: Place | None = None
    partition: Partition = Iid()
    validation: Annotated[Float, Field(ge=0, lt=1)] = 0.0
    homes: dict[Name, Names] | None = None


class Algorithm(Part):
    name: Text = "hier-signsgd"
    lr: Annotated[Float, Field(gt=0)] | None = None
    schedule: Literal["cosine", "constant"] = "cosine"
    momentum: Annotated[Float, Field(ge=0, lt=1)] = 0.9
    batch_size: Annotated[Int, Field(ge=1)] = 64
    edge_steps: Annotated[Int, Field(ge=1, le=65535)] = 15
    rounds: Annotated[Int, Field(ge=1)] = 40
    participation: Share = 1.0
    tie: Literal["random", "zero", "keep"] = "random"
    options: dict[str, Option] = Field(default_factory=dict)


_OWNERS = {"bits": ("qsgd", "rounding"), "fraction": ("topk", "topk-sign", "random-k")}


class Hop(Part):
    """How one hop codes what it carries; `codec: null` is the algorithm's default.

    A codec of the user's own, `module:attribute`, says itself which of the parameters it has.
    """

    codec: Text | None = None
    bits: Annotated[Int, Field(ge=2, le=8)] | None = None
    fraction: Share | None = None

    @field_validator("bits", "fraction")
    @classmethod
    def _belongs(cls, value: float | None, info: ValidationInfo) -> float | None:
        owners, codec = _OWNERS[str(info.field_name)], info.data.get("codec")
        own = codec is None or ":" in codec
        if value is not None and not own and codec not in owners:
            named = " or ".join(owners)
            raise wrong(f"should not be here: it belongs to codec: {named}, not to {codec}")
        return value


class Downlink(Hop):
    """Cloud to edge to device."""


class Uplink(Hop):
    """Edge to cloud."""


_DIGITAL, _ANALOG = ("analog-digital", "digital"), ("analog-digital", "analog")
_KINDS = {"snr_db": _ANALOG, "cutoff": _ANALOG, "bits": _DIGITAL, "digital": _DIGITAL[:1]}


class Channel(Part):
    """The air between the devices and their edge, emulated in the memory runtime.

    `analog`: all devices' signals add up there; `digital`: each sends `bits` a coordinate by
    itself; `analog-digital`: of each cluster the `digital` devices that would make most noise send
    bits, the others add up. Who has a gain below `cutoff` does not add up. Unless set: 10 dB, 0.1,
    4 bits, 1 device.
    """

    kind: Literal["analog-digital", "analog", "digital"]
    snr_db: Annotated[Float, Field(ge=-60, le=300)] | None = None
    cutoff: Annotated[Float, Field(ge=0)] | None = None
    bits: Annotated[Int, Field(ge=2, le=8)] | None = None
    digital: Annotated[Int, Field(ge=1)] | None = None

    @field_validator("snr_db", "cutoff", "bits", "digital")
    @classmethod
    def _belongs(cls, value: float | None, info: ValidationInfo) -> float | None:
        kinds, kind = _KINDS[str(info.field_name)], info.data.get("kind")
        if value is not None and kind is not None and kind not in kinds:
            raise wrong(f"should not be here: it belongs to kind: {' or '.join(kinds)}, not {kind}")
        return value


class Quorum(Part):
    """The share of children whose answer closes a step or a round, and how long to wait.

    A child that misses the end of `max_missed` steps or rounds running is away: beyond the quorum
    nobody waits for it until it is heard of again. A peer that has vanished without closing its
    connection is given up within `heartbeat` seconds.
    """

    devices: Share = 1.0
    edges: Share = 1.0
    step_timeout: Seconds = 30.0
    round_timeout: Seconds = 600.0
    max_missed: Annotated[Int, Field(ge=1)] = 5
    heartbeat: Annotated[Float, Field(ge=0.1, le=3600)] = 10.0


class Security(Part):
    certs: Place | None = None
    insecure: Bool = False


class Faults(Part):
    """Devices that lie, for tests of what a federation survives.

    Those in `sign_flip` vote for the opposite of what they found, those in `random_vote` for noise,
    those in `shout` for the opposite, ten times as loud as it was.
    """

    sign_flip: tuple[Name, ...] = ()
    random_vote: tuple[Name, ...] = ()
    shout: tuple[Name, ...] = ()


class Link(Part):
    """What lies between a node and its parent on a testbed; null is no limit.

    `up` is what the node can send, `down` what it can receive. `delay` and `loss`, a share of the
    packets, are those of each direction.
    """

    up: Rate | None = None
    down: Rate | None = None
    delay: Delay | None = None
    loss: Annotated[Float, Field(gt=0, lt=1)] | None = None


class Links(Part):
    """The links of a testbed: of every device, of every edge, and what differs at single nodes."""

    device: Link = Link()
    edge: Link = Link()
    nodes: dict[Name, Link] = Field(default_factory=dict)

    def of(self, role: Literal["device", "edge"], name: str) -> Link:
        """Return a node's own link: what `nodes` does not say of it, its role does."""
        common: Link = getattr(self, role)
        own = self.nodes.get(name, Link()).model_dump(exclude_none=True)
        return common.model_copy(update=own)


class Cloud(Part):
    address: Address = "127.0.0.1:0"


class Edge(Part):
    """An edge and its devices; a number of devices names them NAME-0, NAME-1, ...

    `capacity` is how many it could have; null: as many as it has.
    """

    name: Name
    address: Address = "127.0.0.1:0"
    devices: Names
    capacity: Annotated[Int, Field(ge=1)] | None = None

    @field_validator("devices", mode="before")
    @classmethod
    def _expand(cls, devices: Any, info: ValidationInfo) -> Any:
        if isinstance(devices, (list, tuple)):
            return devices
        if not isinstance(devices, int) or isinstance(devices, bool) or not 1 <= devices <= 9999:
            raise wrong("should be a list of names, or a number of devices from 1 to 9999")
        return tuple(f"{info.data.get('name', 'device')}-{i}" for i in range(devices))
