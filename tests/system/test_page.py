"""`hierfl run --page`: seen in a real browser during a run of real processes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.system.browser import Tab, chromium
from tests.system.harness import LIMIT_S, TINY, hierfl, line_with, metrics, nodes, started, summary

pytestmark = pytest.mark.system

ROUNDS = ["--set", "algorithm.rounds=1000000", "--set", "restart=always"]


def address(run: subprocess.Popen[str]) -> str:
    return line_with(run, "page: ").split()[1]


def pid_of(name: str, out: Path) -> int:
    return next(pid for pid, text in nodes(out).items() if f"--name {name} " in f"{text} ")


def shown_figures(tab: Tab) -> tuple[int, str, str]:
    """The last round whose figures the page shows, its accuracy and its loss."""
    number, accuracy, loss = tab.value(
        "[rows[rows.length - 1].round, $('metric').innerText, $('loss').innerText]"
    )
    return int(number), accuracy, loss


def test_a_browser_sees_the_run_a_killed_device_and_a_killed_cloud(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with chromium() as tab, started("run", *TINY, *ROUNDS, "--page", "--out", str(out)) as run:
        url = address(run)
        tab.open(url)
        tab.wait_for("rows.length > 3")
        tab.wait_for("now.phase === 'training' && $('tree').innerText.includes('voting')")

        tab.value("showRounds()")
        number, accuracy, loss = shown_figures(tab)
        line = metrics(out)[number - 1]
        assert accuracy == f"{line['accuracy']:.2%}".replace("%", " %")
        assert float(loss) == pytest.approx(line["loss"], rel=1e-3)
        payload, row = tab.value("[rows[2].payload, rows[2].round]")
        assert payload == sum(metrics(out)[row - 1]["bytes"].values())

        os.kill(pid_of("west-1", out), signal.SIGKILL)
        tab.wait_for("$('events').innerText.includes('west-1\\nis away')")
        tab.wait_for("$('events').innerText.includes('west-1\\nis back')")

        tab.reload()
        tab.wait_for("rows.length > 3")
        assert tab.value("rows[0].round") == 1
        assert "west-1\nis away" in tab.text("#events")

        before = tab.value("rows[rows.length - 1].round")
        os.kill(pid_of("cloud", out), signal.SIGKILL)
        tab.wait_for(f"rows[rows.length - 1].round > {before + 3}")
        assert tab.value("rows.every((row, i) => i === 0 || row.round > rows[i - 1].round)")
        assert tab.complaints == []
        run.send_signal(signal.SIGINT)
        run.wait(LIMIT_S)
        tab.wait_for("$('phase').innerText === 'stopped'")


@pytest.mark.slow
def test_the_end_of_a_run_stays_on_the_screen_at_any_width_and_theme(tmp_path: Path) -> None:
    out = tmp_path / "run"
    rounds = ["--set", "algorithm.rounds=300", "--page", "--out", str(out)]
    with chromium() as tab, started("run", *TINY, *rounds) as run:
        url = address(run)
        tab.open(url)
        tab.wait_for("rows.length > 0")
        _, errors = run.communicate(timeout=LIMIT_S)
        assert run.returncode == 0, errors
        tab.wait_for("$('phase').innerText === 'done'")
        assert summary(out)["model_sha256"] in tab.text("#hash")
        assert re.search(r"\d+x less than float32", tab.text("#sent-note"))
        assert tab.value("rows[rows.length - 1].round") == 300
        for width in (390, 1280):
            for theme in ("light", "dark"):
                tab.call(
                    "Emulation.setEmulatedMedia",
                    features=[{"name": "prefers-color-scheme", "value": theme}],
                )
                tab.call(
                    "Emulation.setDeviceMetricsOverride",
                    width=width, height=800, deviceScaleFactor=1, mobile=width < 600,
                )  # fmt: skip
                assert tab.value("document.documentElement.scrollWidth") <= width
                tab.picture(tmp_path / f"{width}-{theme}.png")
        assert tab.complaints == []


@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("tc")),
    reason="a testbed needs root and iproute2",
)
def test_the_page_kills_a_device_and_cuts_a_link_and_the_bits_stay(tmp_path: Path) -> None:
    rounds = [*TINY, "--set", "algorithm.rounds=300", "--set", "edges.0.devices=2",
              "--set", "edges.1.devices=1", "--set", "quorum.heartbeat=1",
              "--set", "quorum.step_timeout=120"]  # fmt: skip
    out = tmp_path / "run"
    options = ["--testbed", "netns", "--page", "--controls", "--set", "restart=always"]
    with chromium() as tab, started("run", *rounds, *options, "--out", str(out)) as run:
        url = address(run)
        assert "?token=" in url
        tab.open(url)
        tab.wait_for("rows.length > 3 && !$('controls').hidden")
        press(tab, "kill", "west-0")
        tab.wait_for("$('said').innerText.trim() === 'west-0: was killed'")
        tab.wait_for("$('events').innerText.includes('west-0\\nis back')")
        press(tab, "cut", "east")
        tab.wait_for("$('events').innerText.includes('east\\nis away')")
        press(tab, "restore", "east")
        tab.wait_for("$('events').innerText.includes('east\\nis back')")
        tab.picture(tmp_path / "controls.png")
        _, errors = run.communicate(timeout=LIMIT_S)
        assert run.returncode == 0, errors
        tab.wait_for("$('phase').innerText === 'done'")
    done = hierfl("run", *rounds, "--set", "runtime=memory", "--out", str(tmp_path / "memory"))
    assert done.returncode == 0, done.stderr
    assert summary(out)["model_sha256"] == summary(tmp_path / "memory")["model_sha256"]


def press(tab: Tab, action: str, node: str) -> None:
    tab.value(f"$('node').value = {node!r}")
    buttons = "[...document.querySelectorAll('.act button')]"
    tab.value(f"{buttons}.find(button => button.innerText === {action!r}).click()")
