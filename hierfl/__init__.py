"""hierfl: hierarchical federated learning on real machines, one bit per coordinate and step.

What programs are written against; each name is imported when it is first used, so that
`import hierfl` costs nothing and an edge does without torch:

    Algorithm        an algorithm of your own derives from it (`algorithm.name: my_app.algo:Mine`)
    RoundOpening     beside it, where an algorithm needs an exchange at a round's start
    LocalSteps       beside it, where a ballot is made of several gradients
    Codec            a codec of your own has its members (`downlink.codec: my_app.codecs:Mine`)
    RandomizedCodec  a codec of your own that draws random numbers derives from it
    PayloadSizes     what a codec's `sizes()` returns
    Task             what is learnt: a task of your own derives from it (`task: my_app.task:Mine`)
    Classification   the built-in task that is the default: cross-entropy, accuracy
    Regression       the built-in task for real-valued targets
    Reconstruction   the built-in task for autoencoders
    Segmentation     the built-in task for a class per pixel
    NextToken        the built-in task for language models
    Data             what a task's `load` returns
    Node             what it is told
    Facts            what a task's `build` is told of all nodes' data
    LinkGrid         Flower's Grid over hierfl's links: any Flower Strategy runs on it
    LinkClient       any Flower ClientApp as a child of a LinkGrid
    run              runs a federation on this machine, and returns its `Run`
    load_run         a run folder as a `Run`
    compare          runs several algorithms with several seeds
    Run              metrics, plot, model and summary of a run; rich in a notebook
    Comparison       what `compare` returns
    Topology         a topology built in Python, with the keys and errors of the YAML file
    Callback         what `run` hands each event to; so is a view of `cloud.views`
    flower           one bit in any Flower app: `flower.onebit()`, `flower.OneBit(strategy)`
    load_config      a topology file as a checked configuration
    Config           what `load_config` returns
    HierflError      the base of all errors that a user can put right
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it as true; typing itself is not cheap to import
if TYPE_CHECKING:
    from hierfl import flower
    from hierfl.algorithms.base import Algorithm
    from hierfl.algorithms.local_steps import LocalSteps
    from hierfl.algorithms.opening import RoundOpening
    from hierfl.api.comparison import Comparison, compare
    from hierfl.api.run import Callback, Run, load_run, run
    from hierfl.api.topology import Topology
    from hierfl.codecs.base import Codec, PayloadSizes, RandomizedCodec
    from hierfl.config import Config, load_config
    from hierfl.errors import HierflError
    from hierfl.learning.data import Data, Node
    from hierfl.learning.task import Task
    from hierfl.learning.tasks import (
        Classification,
        NextToken,
        Reconstruction,
        Regression,
        Segmentation,
    )
    from hierfl.link.client import LinkClient
    from hierfl.link.link_grid import LinkGrid
    from hierfl.protocol.facts import Facts

    __version__: str

__all__ = [
    "Algorithm",
    "Callback",
    "Classification",
    "Codec",
    "Comparison",
    "Config",
    "Data",
    "Facts",
    "HierflError",
    "LinkClient",
    "LinkGrid",
    "LocalSteps",
    "NextToken",
    "Node",
    "PayloadSizes",
    "RandomizedCodec",
    "Reconstruction",
    "Regression",
    "RoundOpening",
    "Run",
    "Segmentation",
    "Task",
    "Topology",
    "__version__",
    "compare",
    "flower",
    "load_config",
    "load_run",
    "run",
]

_HOMES = {
    "Algorithm": "hierfl.algorithms.base",
    "Classification": "hierfl.learning.tasks",
    "Codec": "hierfl.codecs.base",
    "Config": "hierfl.config",
    "Data": "hierfl.learning.data",
    "Facts": "hierfl.protocol.facts",
    "HierflError": "hierfl.errors",
    "LinkClient": "hierfl.link.client",
    "LinkGrid": "hierfl.link.link_grid",
    "LocalSteps": "hierfl.algorithms.local_steps",
    "NextToken": "hierfl.learning.tasks",
    "Node": "hierfl.learning.data",
    "PayloadSizes": "hierfl.codecs.base",
    "RandomizedCodec": "hierfl.codecs.base",
    "Reconstruction": "hierfl.learning.tasks",
    "Regression": "hierfl.learning.tasks",
    "RoundOpening": "hierfl.algorithms.opening",
    "Segmentation": "hierfl.learning.tasks",
    "Task": "hierfl.learning.task",
    "Comparison": "hierfl.api.comparison",
    "Run": "hierfl.api.run",
    "Topology": "hierfl.api.topology",
    "Callback": "hierfl.api.run",
    "compare": "hierfl.api.comparison",
    "flower": "hierfl.flower",
    "load_config": "hierfl.config",
    "load_run": "hierfl.api.run",
    "run": "hierfl.api.run",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        value: object = _version()
    elif name in _HOMES:
        from importlib import import_module

        home = import_module(_HOMES[name])
        value = home if home.__name__ == f"{__name__}.{name}" else getattr(home, name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    """Return the version of pyproject.toml: of the one beside the package, or of the installed one.

    Flower needs it in that file, and runs the app from a folder in which nothing is installed.
    """
    import tomllib
    from importlib.metadata import version
    from pathlib import Path

    file = Path(__file__).parents[1] / "pyproject.toml"
    if file.is_file():
        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == "hierfl":
            return str(project["version"])
    return version("hierfl")
