"""The sections of a configuration, but for `data`: every key, its default and its range."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

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
    Url,
)
from hierfl.config.validators import wrong

MODES: dict[str, Literal["min", "max"]] = {
    "loss": "min", "mse": "min", "mae": "min", "perplexity": "min",
    "accuracy": "max", "r2": "max", "mean_iou": "max",
}  # fmt: skip
"""Which values of the built-in tasks' figures are the better ones."""


class Evaluate(Part):
    """How good models are, and what follows from it.

    `at: devices` is for devices with data of their own: each judges by what it holds out
    (`data.validation`) and sends sums. `at: null` is `cloud` where the cloud holds test data, else
    `devices`. Models are judged after `every` so many rounds, and after the last.

    A run stops early when `metric` reaches `stop_at`, or when it has not been better for `patience`
    evaluations. `mode` says which values of it are better, for figures that are not built in. With
    `keep_best`, the best model is kept as best.safetensors.
    """

    at: Literal["cloud", "devices"] | None = None
    every: Annotated[Int, Field(ge=1)] = 1
    metric: Text = "loss"
    mode: Literal["min", "max"] | None = None
    stop_at: Float | None = None
    patience: Annotated[Int, Field(ge=1)] | None = None
    keep_best: Bool = False

    @model_validator(mode="after")
    def _has_a_mode(self) -> Evaluate:
        if self.mode is None and self.metric not in MODES:
            known = ", ".join(MODES)
            raise wrong(
                f"should say by mode whether min or max {self.metric} is best; known are {known}"
            )
        return self

    @property
    def sign(self) -> int:
        """1 where more of the metric is better, else -1."""
        return 1 if (self.mode or MODES[self.metric]) == "max" else -1

    @property
    def decides(self) -> bool:
        """Whether the end of the run depends on evaluations."""
        return self.stop_at is not None or self.patience is not None

    @property
    def compares(self) -> bool:
        """Whether the task must have the metric."""
        return self.decides or self.keep_best or self.metric != "loss"


class Algorithm(Part):
    """What is computed, and for how long."""

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

    @property
    def total_steps(self) -> int:
        """The steps of a whole run: so many gradients a device takes that never rests."""
        return self.rounds * self.edge_steps


_OWNERS = {"bits": ("qsgd", "rounding"), "fraction": ("topk", "topk-sign", "random-k")}


class Hop(Part):
    """The codec of one hop; `codec: null` is the algorithm's default.

    A user's own codec, `module:attribute`, defines itself which of the parameters it has.
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
            raise wrong(f"should not be set: it belongs to codec: {named}, not to codec: {codec}")
        return value


class Downlink(Hop):
    """Cloud to edge to device."""


class Uplink(Hop):
    """Edge to cloud."""


_DIGITAL, _ANALOG = ("analog-digital", "digital"), ("analog-digital", "analog")
_KINDS = {"snr_db": _ANALOG, "cutoff": _ANALOG, "bits": _DIGITAL, "digital": _DIGITAL[:1]}


class Channel(Part):
    """A radio channel between the devices and their edge, emulated in the memory runtime.

    With `analog`, the signals of all devices add up in the air. With `digital`, each device sends
    `bits` bits per coordinate. With `analog-digital`, the `digital` devices of each cluster that
    would cause the most noise send bits, and the others send analog signals. A device whose gain is
    below `cutoff` sends no analog signal. Defaults: snr_db 10 (dB), cutoff 0.1, bits 4, digital 1.
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
            raise wrong(
                f"should not be set: it belongs to kind: {' or '.join(kinds)}, not to {kind}"
            )
        return value


class Quorum(Part):
    """The share of children whose answer closes a step or a round, and how long to wait for it.

    A child that misses `max_missed` steps or rounds in a row is marked away: beyond the quorum its
    parent does not wait for it until it hears from it again. A peer that has vanished without
    closing its connection is detected within `heartbeat` seconds. Timeouts are in seconds.
    """

    devices: Share = 1.0
    edges: Share = 1.0
    step_timeout: Seconds = 30.0
    round_timeout: Seconds = 600.0
    max_missed: Annotated[Int, Field(ge=1)] = 5
    heartbeat: Annotated[Float, Field(ge=0.1, le=3600)] = 10.0


class Security(Part):
    """Who is let in.

    `revoked` is a file with the names of nodes and the serial numbers of certificates, one a line,
    that are not let in; it is read at each hello. null: `revoked` in `certs`, where it is there.
    """

    certs: Place | None = None
    revoked: Place | None = None
    insecure: Bool = False


class Privacy(Part):
    """Differential privacy of each single sample of a device, towards its edge and all above.

    With `sign-dp`, a device takes each sample into a step's minibatch with probability `rate`
    (`algorithm.batch_size` means nothing), cuts each sample's gradient to the norm `clip`, and adds
    Gaussian noise to their sum, of which it sends signs. Over the whole run that is (`epsilon`,
    `delta`)-differential privacy. `noise_multiplier: null` is the least noise that it takes, in
    units of `clip`; finding it needs the extra `privacy`.
    """

    kind: Literal["sign-dp"] = "sign-dp"
    epsilon: Annotated[Float, Field(ge=0.01, le=1000)]
    delta: Annotated[Float, Field(gt=0, lt=1)]
    rate: Share = 0.01
    clip: Annotated[Float, Field(gt=0)] = 1.0
    noise_multiplier: Annotated[Float, Field(gt=0)] | None = None


class Faults(Part):
    """Dishonest devices, for tests.

    Devices in `sign_flip` negate their gradients, those in `random_vote` replace them by noise,
    those in `shout` negate them and multiply them by ten.
    """

    sign_flip: tuple[Name, ...] = ()
    random_vote: tuple[Name, ...] = ()
    shout: tuple[Name, ...] = ()


class Link(Part):
    """The link between a node and its parent on a testbed; null means no limit.

    `up` is the rate at which the node sends, `down` the rate at which it receives. `delay` and
    `loss` (a share of the packets) hold in each direction.
    """

    up: Rate | None = None
    down: Rate | None = None
    delay: Delay | None = None
    loss: Annotated[Float, Field(gt=0, lt=1)] | None = None


class Links(Part):
    """The links of a testbed: of all devices, of all edges, and what differs at single nodes."""

    device: Link = Link()
    edge: Link = Link()
    nodes: dict[Name, Link] = Field(default_factory=dict)

    def of(self, role: Literal["device", "edge"], name: str) -> Link:
        """Return a node's link: the keys of `nodes`, and those of its role for the rest."""
        common: Link = getattr(self, role)
        own = self.nodes.get(name, Link()).model_dump(exclude_none=True)
        return common.model_copy(update=own)


def _dotted(value: Any) -> Any:
    """Return nested mappings as one with dotted keys, as Flower has an app's configuration."""
    if not isinstance(value, dict):
        return value
    flat: dict[Any, Any] = {}
    for key, below in value.items():
        inner = _dotted(below)
        flat |= (
            {f"{key}.{k}": v for k, v in inner.items()} if isinstance(inner, dict) else {key: below}
        )
    return flat


Options = Annotated[dict[Text, Option], BeforeValidator(_dotted)]


class App(Part):
    """An unchanged Flower app, which says what is learnt in place of task, model and algorithm.

    `path` is the folder with its pyproject.toml. `run_config` replaces keys of its
    [tool.flwr.app.config]. `node_config` is what this machine's node finds in
    `context.node_config`, besides `partition-id` and `num-partitions`. At each edge a strategy
    runs `edge_rounds` rounds per round of the cloud: FedAvg, or `edge_strategy`, `module:attr`.
    """

    path: Place
    run_config: Options = Field(default_factory=dict)
    node_config: Options = Field(default_factory=dict)
    edge_strategy: Text | None = None
    edge_rounds: Annotated[Int, Field(ge=1)] = 1


class Metrics(Part):
    """Where the cloud's process tells how the run goes, beside the run folder.

    `prometheus` is the address that Prometheus scrapes. `tensorboard` writes event files into the
    run folder. `mlflow` is the URI of a tracking server, `wandb` a project of Weights & Biases,
    `otlp` the URL of an OpenTelemetry collector. Each needs the extra of its name.
    """

    prometheus: Address | None = None
    tensorboard: Bool = False
    mlflow: Text | None = None
    wandb: Text | None = None
    otlp: Url | None = None


class Cloud(Part):
    """Where the cloud listens."""

    address: Address = "127.0.0.1:0"


class Edge(Part):
    """An edge and its devices. If `devices` is a number, they are named NAME-0, NAME-1, ...

    `capacity` is the most devices that `hierfl assign` may give it; null: as many as it has.
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
            raise wrong("should be a list of names, or a number from 1 to 9999")
        return tuple(f"{info.data.get('name', 'device')}-{i}" for i in range(devices))
