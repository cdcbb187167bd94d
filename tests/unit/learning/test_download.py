from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hierfl.errors import ConfigError, DataError
from hierfl.learning.datasets import load_dataset
from hierfl.learning.download import obtain
from hierfl.learning.sources import IDX_STEMS
from hierfl.learning.torch_compat import import_torchvision

FILES = sorted(f"{stem}.gz" for stem in IDX_STEMS)


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, write_set, monkeypatch):
    """What torchvision downloads comes from a server here; gives the folder it serves."""
    folder = tmp_path / "served"
    write_set(folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=folder)) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        monkeypatch.setenv("no_proxy", "*")
        dataset = import_torchvision().datasets.FashionMNIST
        sums = [hashlib.md5((folder / f"{stem}.gz").read_bytes()).hexdigest() for stem in IDX_STEMS]
        resources = [(f"{stem}.gz", md5) for stem, md5 in zip(IDX_STEMS, sums, strict=True)]
        monkeypatch.setattr(dataset, "mirrors", [f"http://127.0.0.1:{http.server_port}/"])
        monkeypatch.setattr(dataset, "resources", resources)
        yield folder
        http.shutdown()
        thread.join()


@pytest.fixture
def programs(monkeypatch, tmp_path: Path) -> Path:
    """The only folder on the path, empty."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def offline(monkeypatch, programs: Path) -> None:
    """No server answers, and there are no package tools."""
    monkeypatch.setenv("no_proxy", "*")
    dataset = import_torchvision().datasets.FashionMNIST
    monkeypatch.setattr(dataset, "mirrors", ["http://127.0.0.1:9/"])


def contents(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_torchvisions_download_goes_to_the_cache(nothing_installed, server):
    said: list[str] = []
    folder = obtain("fashion-mnist", None, said.append)
    assert folder == nothing_installed / ".cache/hierfl/data/fashion-mnist"
    assert contents(folder.parent) == [f"fashion-mnist/{name}" for name in FILES]
    assert len(load_dataset("fashion-mnist").train[1]) == 30
    assert said == ["fashion-mnist: trying torchvision", f"fashion-mnist is in {folder}"]


def test_a_root_is_where_the_set_goes_and_is_found(nothing_installed, server, tmp_path):
    folder = obtain("fashion-mnist", tmp_path / "root", lambda line: None)
    assert folder == tmp_path / "root" / "fashion-mnist"
    assert len(load_dataset("fashion-mnist", tmp_path / "root").train[1]) == 30


def test_what_is_there_is_not_fetched_again(nothing_installed, offline, write_set, tmp_path):
    write_set(tmp_path / "system" / "fashion-mnist")
    said: list[str] = []
    folder = obtain("fashion-mnist", None, said.append)
    assert folder == tmp_path / "system" / "fashion-mnist"
    assert said == [f"fashion-mnist is in {folder}"]


def test_a_damaged_set_is_named(nothing_installed, offline, write_set, tmp_path):
    write_set(tmp_path / "system" / "fashion-mnist")
    damaged = tmp_path / "system" / "fashion-mnist" / FILES[0]
    damaged.write_bytes(damaged.read_bytes()[:-9])
    with pytest.raises(DataError) as caught:
        obtain("fashion-mnist", None, lambda line: None)
    assert str(damaged) in str(caught.value)


@pytest.mark.parametrize("broken", FILES)
def test_a_download_that_fails_midway_leaves_nothing(nothing_installed, server, broken, programs):
    (server / broken).unlink()
    with pytest.raises(DataError, match=f"torchvision: Error downloading {broken}"):
        obtain("fashion-mnist", None, lambda line: None)
    assert contents(nothing_installed) == []
    assert list((nothing_installed / ".cache/hierfl/data").iterdir()) == []


def test_nothing_works_names_each_way_on_one_screen(nothing_installed, offline):
    with pytest.raises(DataError) as caught:
        obtain("fashion-mnist", None, lambda line: None)
    text = f"{caught.value}\n{caught.value.hint}"
    for way in (
        "none of its 1 servers can be reached",
        "apt-get is not on this machine",
        "torchvision.datasets.FashionMNIST",
        "apt install dataset-fashion-mnist",
        "--set data.dataset=digits",
    ):
        assert way in text
    assert len(text.splitlines()) < 20


def test_a_folder_that_cannot_be_written_is_an_expected_error(nothing_installed, server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be had here"):
        obtain("fashion-mnist", tmp_path / "file" / "below", lambda line: None)


def test_unknown_sets_are_refused():
    with pytest.raises(ConfigError, match="no data set 'imagenet'"):
        obtain("imagenet", None, lambda line: None)


def test_digits_need_no_fetching():
    pytest.importorskip("sklearn")
    said: list[str] = []
    assert obtain("digits", None, said.append).is_dir()
    assert "nothing to fetch" in said[0]


@pytest.fixture
def package(tmp_path: Path, write_set) -> Path:
    """A Debian package like the real one, with a set of a few images."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("builds a Debian package")
    tree = tmp_path / "tree"
    write_set(tree / "usr/share/datasets/fashion-mnist", train=21)
    (tree / "DEBIAN").mkdir()
    fields = "Package: dataset-fashion-mnist\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b>\n"
    (tree / "DEBIAN/control").write_text(f"{fields}Description: test\n")
    archive = tmp_path / "dataset-fashion-mnist_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", tree, archive], check=True, capture_output=True)
    return archive


APT = """#!/bin/sh
for last; do :; done
echo $last >> {log}
case "$*" in
  {served}) /bin/cp {package} . ;;
  *download*) echo 'E: Unable to locate package' >&2; exit 100 ;;
esac
"""


@pytest.mark.parametrize(
    ("served", "calls"),
    [
        ("*download*", ["dataset-fashion-mnist"]),
        (
            "*Dir::State::Lists=*download*",
            ["dataset-fashion-mnist", "update", "dataset-fashion-mnist"],
        ),
    ],
    ids=["with the machine's lists", "with lists of our own"],
)
def test_debians_package_is_unpacked_without_installing(
    nothing_installed, package, offline, programs, tmp_path, monkeypatch, served, calls
):
    log = tmp_path / "log"
    apt = programs / "apt-get"
    apt.write_text(APT.format(log=log, package=package, served=served))
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(programs), os.defpath]))
    folder = obtain("fashion-mnist", None, lambda line: None)
    assert contents(folder.parent) == [f"fashion-mnist/{name}" for name in FILES]
    assert len(load_dataset("fashion-mnist").train[1]) == 21
    assert log.read_text().split() == calls


def test_apts_own_words_are_shown(nothing_installed, offline, programs, tmp_path):
    for name in ("apt-get", "dpkg-deb"):
        (programs / name).write_text(APT.format(log=tmp_path / "log", package="", served="never"))
        (programs / name).chmod(0o755)
    with pytest.raises(DataError, match="apt-get failed: E: Unable to locate package"):
        obtain("fashion-mnist", None, lambda line: None)
