"""The configuration of a federation: one YAML file, read once into frozen models."""

from hierfl.config.read import load_config, make_config, read_config
from hierfl.config.schema import CLOUD, Config, Role
from hierfl.config.sections import (
    Algorithm,
    Channel,
    Cloud,
    Data,
    Dirichlet,
    Downlink,
    Edge,
    Faults,
    Hop,
    Iid,
    Link,
    Links,
    Partition,
    Quorum,
    Security,
    Shards,
    Uplink,
)

__all__ = [
    "CLOUD",
    "Algorithm",
    "Channel",
    "Cloud",
    "Config",
    "Data",
    "Dirichlet",
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
