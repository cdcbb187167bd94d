"""The sections of a configuration: every key, its default and its range."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_serializer,
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
    Spec,
    Text,
    Url,
    not_empty,
)
from hierfl.config.validators import wrong


class Iid(Part):
    """All devices get samples of the same distribution."""

    kind: Literal["iid"] = "iid"


class Dirichlet(Part):
    """Each class is divided among all devices in shares drawn from Dirichlet(alpha).

    With `within: edge`, every edge first gets an iid share of the samples, which is then divided
    among its devices.
    """

    kind: Literal["dirichlet"] = "dirichlet"
    alpha: Annotated[Float, Field(gt=0)] = 0.3
    within: Literal["federation", "edge"] = "federation"


class Shards(Part):
    """Each edge holds only `classes` classes; other edges may hold some of them too."""

    kind: Literal["shards"] = "shards"
    classes: Annotated[Int, Field(ge=1)] = 2


class Disjoint(Part):
    """Each edge holds classes that no other edge holds; their numbers differ by one at most."""

    kind: Literal["disjoint"] = "disjoint"


class Own(Part):
    """Each device has data of its own: all that it loads, and nothing else."""

    kind: Literal["own"] = "own"


Partition = Annotated[Iid | Dirichlet | Shards | Disjoint | Own, Field(discriminator="kind")]


Columns = Annotated[
    tuple[Text, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    AfterValidator(not_empty),
]


def _divides(sign: str) -> str:
    if len(sign) != 1 or sign in '"\r\n' or sign.isalnum():
        raise wrong("should be one character, such as , or ; and no letter, digit or quote")
    return sign


class Csv(Part):
    """Rows of CSV files, each with a head that names its columns.

    `features: null` is all columns but the targets, in the order of their names. Without a target
    a row is its features.
    """

    files: Text = "*.csv"
    target: Columns | None = None
    features: Columns | None = None
    test: Text | None = None
    delimiter: Annotated[str, AfterValidator(_divides)] = ","

    @model_validator(mode="after")
    def _targets_are_no_features(self) -> Csv:
        if both := {*(self.target or ())} & {*(self.features or ())}:
            raise wrong(f"{min(both)} is a target and a feature: a model would be given its answer")
        return self


class Npz(Part):
    """NumPy's .npz files: an array of inputs, and one of targets, each with a row a sample."""

    files: Text = "*.npz"
    inputs: Text = "x"
    target: Text | None = "y"
    test: Text | None = None


class Images(Part):
    """A folder of image files for each class, in `folder`; the names of the folders are classes."""

    folder: Text = "."
    test: Text | None = None


class TextFiles(Part):
    """Pieces of `length` bytes of text files, one after the other: tokens to predict."""

    files: Text = "**/*.txt"
    length: Annotated[Int, Field(ge=2, le=65536)] = 65
    test: Text | None = None


class Dataset(Part):
    """A built-in set or `module:function`, by its name alone; or a reader of one's own files."""

    name: Text | None = None
    csv: Csv | None = None
    npz: Npz | None = None
    images: Images | None = None
    text: TextFiles | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict):
            return {key: {} if options is None else options for key, options in value.items()}
        return value

    @model_validator(mode="after")
    def _is_one(self) -> Dataset:
        if len([value for _, value in self if value is not None]) != 1:
            raise wrong(f"should be a name, or one of {', '.join(self._readers())} with its keys")
        return self

    @model_serializer
    def _short(self) -> Any:
        if self.name is not None:
            return self.name
        key, reader = self.reader
        return {key: reader.model_dump(mode="json")}

    @property
    def reader(self) -> tuple[str, Csv | Npz | Images | TextFiles]:
        """The reader's key, and its keys; there is one where there is no name."""
        return next((key, value) for key, value in self if key != "name" and value is not None)

    @classmethod
    def _readers(cls) -> list[str]:
        return [key for key in cls.model_fields if key != "name"]

    def __str__(self) -> str:
        """Return the name, or the reader's."""
        return self.name or self.reader[0]


class Data(Part):
    """The data set and its partition.

    The share `validation` of the training set is held out, and judges models instead of the test
    set: at the cloud or, where each device has data of its own, at every device. `homes` is the
    tree by which the data is shared out, where that is not the federation's own: devices that have
    moved to another edge keep their data. In `root`, {name}, {edge} and {role} are a node's own.

    A device counts as at most `most_examples` samples in every mean, whatever it says it holds;
    null: as at most 3 times the median of its cluster, and an edge likewise at the cloud.

    `transforms` are torchvision's, of all samples; `augment` those of samples to learn from.
    `standardize: null` is `federation` for what a reader reads and for images of bytes, `none` for
    what one's own code loads.
    """

    dataset: Dataset = Dataset(name="fashion-mnist")
    root: Place | None = None
    partition: Partition = Iid()
    validation: Annotated[Float, Field(ge=0, lt=1)] = 0.0
    standardize: Literal["federation", "device", "none"] | None = None
    transforms: tuple[Spec, ...] = ()
    augment: tuple[Spec, ...] = ()
    most_examples: Annotated[Int, Field(ge=1, le=2**31)] | None = None
    homes: dict[Name, Names] | None = None

    @property
    def is_own(self) -> bool:
        """Whether each device has data of its own."""
        return self.partition.kind == "own"


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
