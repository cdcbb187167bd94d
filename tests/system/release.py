"""Whether a release works: wheel and sdist are built, installed in empty environments, and run.

    make release-check

It asks the package index. uv, which Flower brings along, makes the environments.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("clients", "cloud", "deploy", "edge", "hierfl")

RUN = ["--set", "data.dataset=digits", "--set", "model=mlp", "--set", "algorithm.rounds=1"]
"""A run that costs next to nothing."""

EXTRAS = {
    "digits": "sklearn",
    "mlflow": "mlflow",
    "notebook": "ipykernel",
    "onnx": "onnxscript",
    "otlp": "opentelemetry.exporter.otlp.proto.http",
    "plots": "matplotlib",
    "privacy": "dp_accounting",
    "prometheus": "prometheus_client",
    "tensorboard": "tensorboard",
    "wandb": "wandb",
}
"""An extra -> a module that it brings. `dev` and `docs` are for this repository."""


def main() -> None:
    """Build, look into both files, install and run each."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert EXTRAS.keys() == project["optional-dependencies"].keys() - {"dev", "docs"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        call(sys.executable, "-m", "build", "--outdir", str(folder / "dist"), str(ROOT))
        (wheel,) = (folder / "dist").glob("*.whl")
        (sdist,) = (folder / "dist").glob("*.tar.gz")
        check_wheel(wheel, project["version"])
        check_sdist(sdist)
        for file in (wheel, sdist):
            check_install(file, folder / f"{file.name}.env", project["version"])
        environment = folder / f"{wheel.name}.env"
        for extra, module in EXTRAS.items():
            install(environment, f"{wheel}[{extra}]")
            call(str(environment / "bin" / "python"), "-c", f"import {module}", cwd=folder)
            print(f"ok: the extra {extra}")


def check_wheel(wheel: Path, version: str) -> None:
    """Check that every file of the packages is in it that git keeps, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    listed = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    missing = set(listed.split()) - held
    assert not missing, f"{wheel.name} lacks {sorted(missing)}"
    info = f"hierfl-{version}.dist-info"
    others = {name.partition("/")[0] for name in held} - {*PACKAGES, info}
    assert not others, f"{wheel.name} holds {sorted(others)}"
    print(f"ok: {wheel.name}, {len(held)} files, {wheel.stat().st_size:,} bytes")


def check_sdist(sdist: Path) -> None:
    """Check that it holds what a wheel is made of, and the licence."""
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("pyproject.toml", "README.md", "LICENSE", "hierfl/__init__.py"):
        assert name in held, f"{sdist.name} lacks {name}"
    print(f"ok: {sdist.name}, {len(held)} files, {sdist.stat().st_size:,} bytes")


def check_install(file: Path, environment: Path, version: str) -> None:
    """Install a file into an empty environment, and run federations from an empty folder."""
    call(
        sys.executable, "-m", "uv", "venv", "--quiet", "--python", sys.executable, str(environment)
    )
    install(environment, f"{file}[digits]")
    hierfl, empty = str(environment / "bin" / "hierfl"), environment.with_suffix(".run")
    empty.mkdir()
    assert call(hierfl, "--version", cwd=empty) == f"hierfl {version}\n"
    hashes = set()
    for runtime in ("memory", "process"):
        sets = [*RUN, "--set", f"runtime={runtime}", "--out", runtime]
        said = call(hierfl, "run", *sets, cwd=empty)
        hashes.add(next(line for line in said.splitlines() if line.startswith("model ")))
        assert (empty / runtime / "report.html").is_file()
    assert len(hashes) == 1, hashes
    print(f"ok: {file.name} installs and runs: {hashes.pop()}")


def install(environment: Path, what: str) -> None:
    """Install a requirement with the versions of constraints.txt."""
    call(
        sys.executable, "-m", "uv", "pip", "install", "--quiet",
        "--python", str(environment / "bin" / "python"),
        "--constraints", str(ROOT / "constraints.txt"), what,
    )  # fmt: skip


def call(*command: str, cwd: Path | None = None) -> str:
    """Run a command that must succeed, and return what it prints."""
    outside = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**outside, "FLWR_TELEMETRY_ENABLED": "0"},
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
