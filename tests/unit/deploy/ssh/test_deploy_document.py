"""What docs/deploy.md shows is what one sees."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from deploy.ssh.systemctl import VERBS
from hierfl.cli import main

DOCUMENT = (Path(__file__).parents[4] / "docs/deploy.md").read_text()


def test_its_files_and_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)
    topology, hosts = [text for kind, text in fenced if kind == "yaml"]
    blocks = [text for kind, text in fenced if kind == ""]
    Path("topology.yaml").write_text(topology)
    Path("hosts.yaml").write_text(hosts)
    make, show, units, apply, *later = [
        shlex.split(line, comments=True)[1:]
        for block in blocks
        for line in block.splitlines()
        if line.startswith("hierfl ")
    ]
    assert apply == [*show, "--apply"] and units == [*show, "--units"]
    assert {(*show, "--do", verb) for verb in VERBS} == {tuple(line) for line in later}

    for arguments in (make, show, units):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
    shown = capsys.readouterr().out
    (excerpt,) = [block for block in blocks if block.startswith("hub: ")]
    for line in excerpt.splitlines():
        assert re.sub(r"\d+ files, .*", "", line) in shown
    assert re.search(r"^  5 files, [\d.]+ kB$", shown, re.MULTILINE)
    assert "/etc/hierfl/certs/cloud.key  600 hierfl, " in shown and "ExecStart=" in shown
