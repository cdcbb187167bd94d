"""What a configuration is: every key, its default and its range.

The models are frozen and refuse unknown keys; YAML's numbers and booleans are taken as they are,
never converted from one to the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from hierfl.config.amounts import bits_per_second, microseconds
from hierfl.config.dialect import Dumper
from hierfl.config.names import no_such, refuse_strangers, refuse_twins, wrong

CLOUD = "cloud"

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})")


def _address(text: str) -> str:
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match[2]) > 65535:
        raise wrong("should be host:port with a port of at most 65535 ([host]:port for IPv6)")
    return text


def not_empty(items: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse an empty list."""
    if not items:
        raise wrong("should name at least one")
    return items


def _scalar(value: Any) -> Any:
    if not isinstance(value, str | int | float):
        raise wrong("should be a text, a number, true or false")
    return value


def _rate(text: str) -> str:
    try:
        bits_per_second(text)
    except ValueError as error:
        raise wrong(str(error)) from None
    return text


def _delay(text: str) -> str:
    try:
        microseconds(text)
    except ValueError as error:
        raise wrong(str(error)) from None
    return text


Int = Annotated[int, Strict()]
Float = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Bool = Annotated[bool, Strict()]
Text = Annotated[str, StringConstraints(min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
Names = Annotated[tuple[Name, ...], AfterValidator(not_empty)]
Address = Annotated[str, AfterValidator(_address)]
Place = Annotated[Path, AfterValidator(Path.expanduser)]
Share = Annotated[Float, Field(gt=0, le=1)]
Seconds = Annotated[Float, Field(gt=0)]
Rate = Annotated[str, AfterValidator(_rate)]
Delay = Annotated[str, AfterValidator(_delay)]
Option = Annotated[str | int | float | bool, BeforeValidator(_scalar)]


class Part(BaseModel):
    """A mapping of the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Iid(Part):
    """Every device draws from the same distribution."""

    kind: Literal["iid"] = "iid"


class Dirichlet(Part):
    """Each class is shared out among all devices by a Dirichlet(alpha) draw."""

    kind: Literal["dirichlet"] = "dirichlet"
    alpha: Annotated[Float, Field(gt=0)] = 0.3


class Shards(Part):
    """Each edge holds `classes` classes only."""

    kind: Literal["shards"] = "shards"
    classes: Annotated[Int, Field(ge=1)] = 2


Partition = Annotated[Iid | Dirichlet | Shards, Field(discriminator="kind")]


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
    tie: Literal["random", "zero", "keep"] = "random"
    options: dict[str, Option] = {}


_OWNERS = {"bits": ("qsgd",), "fraction": ("topk", "topk-sign", "random-k")}


class Hop(Part):
    """How one hop codes what it carries; `codec: null` is the algorithm's default."""

    codec: Text | None = None
    bits: Annotated[Int, Field(ge=2, le=8)] | None = None
    fraction: Share | None = None

    @field_validator("bits", "fraction")
    @classmethod
    def _belongs(cls, value: float | None, info: ValidationInfo) -> float | None:
        owners, codec = _OWNERS[str(info.field_name)], info.data.get("codec")
        if value is not None and codec is not None and codec not in owners:
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
    nodes: dict[Name, Link] = {}

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


class Config(Part):
    """A whole federation. Names of nodes are unique; each device has one edge.

    `reach` names the edges to which a device could belong; a device that is not there reaches all.
    """

    name: Name = "demo"
    seed: Annotated[Int, Field(ge=0, lt=2**63)] = 1
    runtime: Literal["process", "memory"] = "process"
    restart: Literal["never", "always"] = "never"
    model: Text = "cnn"
    data: Data = Data()
    algorithm: Algorithm = Algorithm()
    downlink: Downlink = Downlink()
    uplink: Uplink = Uplink()
    channel: Channel | None = None
    quorum: Quorum = Quorum()
    security: Security = Security()
    faults: Faults = Faults()
    cloud: Cloud = Cloud()
    edges: Annotated[tuple[Edge, ...], AfterValidator(not_empty)]
    reach: dict[Name, Names] = {}
    links: Links = Links()

    @model_validator(mode="after")
    def _distinct(self) -> Config:
        addresses = [("cloud.address", self.cloud.address)]
        addresses += [(f"edges.{i}.address", edge.address) for i, edge in enumerate(self.edges)]
        fixed = [(place, address) for place, address in addresses if not address.endswith(":0")]
        refuse_twins("address", fixed)
        refuse_twins("name", self._places())
        return self

    @model_validator(mode="after")
    def _liars_are_devices(self) -> Config:
        known = [device for edge in self.edges for device in edge.devices]
        named = [
            (f"faults.{kind}.{i}", name)
            for kind, names in self.faults
            for i, name in enumerate(names)
        ]
        refuse_strangers("device", named, known)
        refuse_twins("device", named)
        return self

    @model_validator(mode="after")
    def _homes_are_of_all_devices(self) -> Config:
        if self.data.homes is not None:
            placed = [
                (f"data.homes.{edge}.{i}", name)
                for edge, names in self.data.homes.items()
                for i, name in enumerate(names)
            ]
            refuse_twins("device", placed)
            known = [device for edge in self.edges for device in edge.devices]
            refuse_strangers("device", placed, known)
            if missing := set(known) - {name for _, name in placed}:
                raise wrong(f"data.homes: {min(missing)} has no home")
        return self

    @model_validator(mode="after")
    def _devices_are_where_they_can_be(self) -> Config:
        for i, edge in enumerate(self.edges):
            if edge.capacity is not None and edge.capacity < len(edge.devices):
                raise wrong(f"edges.{i}.capacity: {edge.name} has {len(edge.devices)} devices")
        parents = {device: edge.name for edge in self.edges for device in edge.devices}
        edges = [edge.name for edge in self.edges]
        refuse_strangers("device", [(f"reach.{name}", name) for name in self.reach], list(parents))
        for device, reached in self.reach.items():
            places = [(f"reach.{device}.{i}", name) for i, name in enumerate(reached)]
            refuse_strangers("edge", places, edges)
            if parents[device] not in reached:
                raise wrong(f"reach.{device}: should name {parents[device]}, where it is")
        return self

    @model_validator(mode="after")
    def _links_are_of_nodes(self) -> Config:
        known = [edge.name for edge in self.edges]
        known += [device for edge in self.edges for device in edge.devices]
        named = [(f"links.nodes.{name}", name) for name in self.links.nodes]
        refuse_strangers("device or edge", named, known)
        return self

    def _places(self) -> Iterator[tuple[str, str]]:
        yield CLOUD, CLOUD
        for i, edge in enumerate(self.edges):
            yield f"edges.{i}.name", edge.name
            for k, device in enumerate(edge.devices):
                yield f"edges.{i}.devices.{k}", device

    def to_yaml(self) -> str:
        """The whole configuration, every key written out; `load_config` reads it back equal."""
        tree = self.model_dump(mode="json")
        return yaml.dump(tree, Dumper=Dumper, sort_keys=False, default_flow_style=None, width=100)

    def tree(self) -> dict[str, tuple[str, ...]]:
        """Edge name -> the names of its devices, in the file's order."""
        return {edge.name: edge.devices for edge in self.edges}

    def edge(self, name: str) -> Edge:
        """The edge of this name.

        Raises:
            ConfigError: there is none.
        """
        found = next((edge for edge in self.edges if edge.name == name), None)
        if found is None:
            raise no_such("edge", name, [edge.name for edge in self.edges])
        return found

    def parent_of(self, name: str) -> str:
        """The name of the node that `name` dials: a device's edge, an edge's cloud.

        Raises:
            ConfigError: no device and no edge has this name.
        """
        parents = {edge.name: CLOUD for edge in self.edges}
        parents |= {device: edge.name for edge in self.edges for device in edge.devices}
        if name not in parents:
            raise no_such("device or edge", name, list(parents))
        return parents[name]
