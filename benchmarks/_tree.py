"""The tree of the tables of accuracy: 4 edges with 5 devices each, on Fashion-MNIST, batch 32."""

from __future__ import annotations

import json

EDGES, DEVICES = "abcd", 5
SETS = [
    "algorithm.batch_size=32",
    f"edges={json.dumps([{'name': edge, 'devices': DEVICES} for edge in EDGES])}",
]
