"""The configuration as a whole: its sections, and the constraints between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from hierfl.config.addresses import split
from hierfl.config.data_section import Data
from hierfl.config.sections import (
    Algorithm,
    App,
    Channel,
    Cloud,
    Downlink,
    Edge,
    Evaluate,
    Faults,
    Links,
    Metrics,
    Privacy,
    Quorum,
    Security,
    Uplink,
)
from hierfl.config.types import (
    Bool,
    Int,
    Name,
    Names,
    Part,
    Place,
    Processor,
    Spec,
    Text,
    name_of,
    not_empty,
)
from hierfl.config.validators import no_such, refuse_strangers, refuse_twins, wrong
from hierfl.config.yaml_dialect import Dumper
from hierfl.errors import ConfigError

CLOUD = "cloud"

Role = Literal["cloud", "edge", "device"]


_REPLACED_BY_APP = (
    "task", "model", "start_from", "data", "algorithm", "downlink", "uplink", "channel", "faults",
    "privacy",
)  # fmt: skip


def _app(value: Any) -> Any:
    """A Flower app's folder stands for an app with nothing else set."""
    return {"path": value} if isinstance(value, str) else value


class Config(Part):
    """A whole federation. Names of nodes are unique, and each device belongs to one edge.

    Relative paths begin at `folder`, and modules of one's own are looked for there; null: the
    folder in which the file lies. Those of options begin at the current folder.

    `start_from` is a file with the first base, such as a run's model.safetensors; without it, the
    first base is drawn from the seed. `app` is a Flower app, in place of task, model, data and
    algorithm. `reach` maps a device to the edges to which `hierfl assign`
    may move it; a device without an entry may be moved to any edge.

    `device` is where torch computes gradients and evaluations: `auto`, `cpu`, `cuda`, `cuda:N` or
    `mps`, of all nodes or by name (others are on the CPU). Which way a bit falls that is close to
    zero depends on the processor: a run on GPUs has other bits than one on CPUs.

    `hosts` are processes with several devices each, by name: {laptop: [pi-0, pi-1]}. `hierfl run`
    starts them, and `hierfl device --name laptop` one of them. Their devices, which may be of
    several edges, compute one after the other.

    `notify` is a shell command that reads lines about nodes that go away or come back, or an
    http(s) address to which they are posted.

    With `report_loss: false` devices do not say the loss of their minibatches, and no round has a
    train_loss; with `privacy` they never do. What they find on data that they hold out is not
    meant: without `data.validation` they find nothing.

    With `weights: examples` devices and edges count in means by their samples, with `equal` alike.
    """

    name: Name = "demo"
    seed: Annotated[Int, Field(ge=0, lt=2**63)] = 1
    runtime: Literal["process", "memory"] = "process"
    restart: Literal["never", "always"] = "never"
    folder: Place | None = None
    app: Annotated[App | None, BeforeValidator(_app)] = None
    task: Text = "classification"
    model: Spec = "cnn"
    start_from: Place | None = None
    data: Data = Data()
    evaluate: Evaluate = Evaluate()
    device: Processor = "cpu"
    algorithm: Algorithm = Algorithm()
    weights: Literal["examples", "equal"] = "examples"
    downlink: Downlink = Downlink()
    uplink: Uplink = Uplink()
    channel: Channel | None = None
    quorum: Quorum = Quorum()
    privacy: Privacy | None = None
    security: Security = Security()
    faults: Faults = Faults()
    cloud: Cloud = Cloud()
    edges: Annotated[tuple[Edge, ...], AfterValidator(not_empty)]
    notify: Text | None = None
    report_loss: Bool = True
    hosts: dict[Name, Names] = Field(default_factory=dict)
    reach: dict[Name, Names] = Field(default_factory=dict)
    links: Links = Links()
    metrics: Metrics = Metrics()

    @model_validator(mode="after")
    def _distinct(self) -> Config:
        addresses = self.addresses().items()
        fixed = [(place, address) for place, address in addresses if split(address)[1]]
        refuse_twins("address", fixed)
        refuse_twins("name", self._places())
        return self

    @model_validator(mode="after")
    def _an_app_says_what_is_learnt(self) -> Config:
        if self.app is None:
            return self
        for key in _REPLACED_BY_APP:
            if getattr(self, key) != type(self).model_fields[key].default:
                raise wrong(f"{key}: should not be set: the Flower app says what is learnt and how")
        if self.runtime != "process":
            raise wrong("runtime: should be process: a Flower app needs a process for each node")
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
    def _processors_are_of_nodes(self) -> Config:
        if isinstance(self.device, dict):
            named = [(f"device.{name}", name) for name in self.device]
            refuse_strangers("node", named, list(self.roles()))
        return self

    @model_validator(mode="after")
    def _judges_hold_data(self) -> Config:
        if self.evaluate.at == "devices" and not self.data.is_own:
            raise wrong("evaluate.at: devices belongs to data.partition: {kind: own}")
        return self

    @model_validator(mode="after")
    def _what_is_private_stays(self) -> Config:
        if self.privacy is None:
            return self
        if self.evaluate.at == "devices":
            raise wrong("evaluate.at: should be cloud: privacy does not let devices send metrics")
        if self.data.is_own and self.data.standardize not in ("device", "none"):
            raise wrong(
                "data.standardize: should be device or none: with federation each device says the "
                "moments of its data, which privacy does not cover"
            )
        return self

    @model_validator(mode="after")
    def _hosts_hold_devices(self) -> Config:
        known = [device for edge in self.edges for device in edge.devices]
        placed = [
            (f"hosts.{host}.{i}", name)
            for host, names in self.hosts.items()
            for i, name in enumerate(names)
        ]
        refuse_strangers("device", placed, known)
        refuse_twins("device", placed)
        if self.hosts and self.app is not None:
            raise wrong("hosts: should not be set: a Flower app needs a process for each device")
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
                raise wrong(f"data.homes: {min(missing)} is missing")
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
                raise wrong(f"reach.{device}: should include its own edge, {parents[device]}")
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
        for host in self.hosts:
            yield f"hosts.{host}", host

    def to_yaml(self) -> str:
        """Return the configuration as YAML with every key; `read_config` reads it back equal."""
        tree = self.model_dump(mode="json")
        return yaml.dump(tree, Dumper=Dumper, sort_keys=False, default_flow_style=None, width=100)

    @property
    def model_name(self) -> str:
        """What the model is called: by `model` or, if that is left out, by a task of one's own."""
        left_out = self.model == type(self).model_fields["model"].default
        return self.task if ":" in self.task and left_out else name_of(self.model)

    @property
    def data_name(self) -> str:
        """The data set's name: that of `data.dataset`, or of an own task where that is left out."""
        left_out = self.data.dataset == Data.model_fields["dataset"].default
        return self.task if ":" in self.task and left_out else str(self.data.dataset)

    def tree(self) -> dict[str, tuple[str, ...]]:
        """Return edge -> its devices, in the file's order."""
        return {edge.name: edge.devices for edge in self.edges}

    def addresses(self) -> dict[str, str]:
        """Return the keys of all listening addresses -> the addresses, the cloud's first."""
        edges = {f"edges.{i}.address": edge.address for i, edge in enumerate(self.edges)}
        return {"cloud.address": self.cloud.address, **edges}

    def roles(self) -> dict[str, Role]:
        """Return node -> its role: the cloud, then all edges, then all devices."""
        edges: dict[str, Role] = {edge.name: "edge" for edge in self.edges}
        devices: dict[str, Role] = {name: "device" for edge in self.edges for name in edge.devices}
        return {CLOUD: "cloud", **edges, **devices}

    def processes(self) -> dict[str, Role]:
        """Return node -> its role, with each of the `hosts` in place of its devices."""
        inside = {device for devices in self.hosts.values() for device in devices}
        nodes = {name: role for name, role in self.roles().items() if name not in inside}
        return nodes | dict.fromkeys(self.hosts, "device")

    def devices_of(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the devices of some names, each a device's or that of one of the `hosts`.

        Raises:
            ConfigError: a name is neither, or a device is named twice.
        """
        devices: list[str] = []
        known = [device for edge in self.edges for device in edge.devices]
        there = {*known}
        for name in names:
            if name not in there and name not in self.hosts:
                raise no_such("device", name, [*self.hosts, *known])
            devices += self.hosts.get(name, (name,))
        if len({*devices}) < len(devices):
            twice = next(name for name in devices if devices.count(name) > 1)
            raise ConfigError("--name", f"{twice} is named twice")
        return tuple(devices)

    def data_root(self, name: str) -> Path | None:
        """Return a node's `data.root`: {name}, {edge} and {role} in it are the node's own.

        An edge, and the cloud, have no {edge}.
        """
        if self.data.root is None:
            return None
        role = self.roles()[name]
        edge = self.parent_of(name) if role == "device" else ""
        text = str(self.data.root)
        for key, value in {"name": name, "edge": edge, "role": role}.items():
            text = text.replace(f"{{{key}}}", value)
        return Path(text)

    def processor_of(self, name: str) -> str:
        """Return where torch computes at a node: `device`, or its entry there."""
        return self.device.get(name, "cpu") if isinstance(self.device, dict) else self.device

    def edge(self, name: str) -> Edge:
        """Return the edge of this name.

        Raises:
            ConfigError: if there is none.
        """
        found = next((edge for edge in self.edges if edge.name == name), None)
        if found is None:
            raise no_such("edge", name, [edge.name for edge in self.edges])
        return found

    def parent_of(self, name: str) -> str:
        """Return the node that `name` connects to: a device's edge, or the cloud for an edge.

        Raises:
            ConfigError: if no device and no edge has this name.
        """
        parents = {edge.name: CLOUD for edge in self.edges}
        parents |= {device: edge.name for edge in self.edges for device in edge.devices}
        if name not in parents:
            raise no_such("device or edge", name, list(parents))
        return parents[name]
