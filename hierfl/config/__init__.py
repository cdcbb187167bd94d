"""The configuration of a federation: one YAML file, read once into frozen models."""

from hierfl.config.data_section import (
    Data,
    Dirichlet,
    Disjoint,
    Iid,
    Partition,
    Shards,
)
from hierfl.config.read import load_config, make_config, read_config
from hierfl.config.schema import CLOUD, Config, Role
from hierfl.config.sections import (
    Algorithm,
    App,
    Channel,
    Cloud,
    Downlink,
    Edge,
    Faults,
    Hop,
    Link,
    Links,
    Quorum,
    Security,
    Uplink,
)

__all__ = [
    "CLOUD",
    "Algorithm",
    "App",
    "Channel",
    "Cloud",
    "Config",
    "Data",
    "Dirichlet",
    "Disjoint",
    "Downlink",
    "Edge",
    "Faults",
    "Hop",
    "Iid",
    "Link",
    "Links",
    "Partition",
    "Quorum",
    "Role",
    "Security",
    "Shards",
    "Uplink",
    "load_config",
    "make_config",
    "read_config",
]
