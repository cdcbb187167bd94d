"""The section `data`: which samples devices learn from, and how they are read and shared out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    model_serializer,
    model_validator,
)

from hierfl.config.types import (
    Float,
    Int,
    Name,
    Names,
    Part,
    Place,
    Spec,
    Text,
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
