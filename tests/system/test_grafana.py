"""The dashboard's queries, asked of a real Prometheus that scrapes a real run."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import urllib.parse
import urllib.request
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.system.harness import LIMIT_S, TINY, line_with, started, wait_until

pytestmark = [pytest.mark.system, pytest.mark.slow]

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana.json"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def asked(url: str, query: str) -> list[Any]:
    """Return the series that a query has; none while Prometheus is not up."""
    text = urllib.parse.urlencode({"query": query})
    with suppress(OSError), urllib.request.urlopen(f"{url}/api/v1/query?{text}", timeout=5) as said:
        found: list[Any] = json.load(said)["data"]["result"]
        return found
    return []


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")
def test_every_panel_has_data_in_prometheus(tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    panels = {
        target["expr"].replace("$federation", ".*")
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel.get("targets", [])
    }
    names = {name for query in panels for name in re.findall(r"hierfl_\w+", query)}
    exporter, port = free_port(), free_port()
    (tmp_path / "prometheus.yml").write_text(
        f"scrape_configs: [{{job_name: hierfl, scrape_interval: 1s, "
        f"static_configs: [{{targets: ['127.0.0.1:{exporter}']}}]}}]"
    )
    url, rounds = f"http://127.0.0.1:{port}", ["--set", "algorithm.rounds=1000000"]
    sets = ["--set", f"metrics.prometheus=127.0.0.1:{exporter}"]
    with (
        started("run", *TINY, *rounds, *sets, "--out", str(tmp_path / "run")) as run,
        subprocess.Popen(
            ["prometheus", "--config.file=prometheus.yml", f"--web.listen-address=127.0.0.1:{port}",
             "--storage.tsdb.path=data"],
            cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as prometheus,
    ):  # fmt: skip
        try:
            line_with(run, "round ")
            for query in sorted(panels | names):
                wait_until(partial(asked, url, query))
            values = [series["value"][1] for series in asked(url, "hierfl_edge_attached")]
            assert values == ["1", "1"]
        finally:
            prometheus.terminate()
            run.send_signal(signal.SIGINT)
            run.communicate(timeout=LIMIT_S)
