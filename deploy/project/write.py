"""Writes the files of a new federation, in a folder that holds none of them."""

from __future__ import annotations

from collections.abc import Mapping

from deploy.project.choices import Choices, check
from deploy.project.samples import samples
from deploy.project.task_file import task_text
from deploy.project.texts import first_commands, hosts_text, readme_text, topology_text
from hierfl.errors import ConfigError


def init(choices: Choices) -> None:
    """Write a federation's files, and print what to do next.

    Raises:
        ConfigError: the choices do not go together, a file is there already, or the folder cannot
            be written to.
    """
    check(choices)
    files = project_files(choices)
    there = [name for name in files if (choices.folder / name).exists()]
    if there:
        raise ConfigError(
            "NAME", f"{choices.folder / there[0]} is there already", "Nothing was written."
        )
    try:
        for name, content in files.items():
            file = choices.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    except OSError as error:
        raise ConfigError(
            "NAME", f"cannot write into {choices.folder}: {error.strerror}"
        ) from error
    print(f"{choices.folder}: {', '.join(name for name in files if '/' not in name)}")
    print("next:")
    for line in (f"cd {choices.folder}", *first_commands(choices)):
        print(f"  {line}")


def project_files(choices: Choices) -> Mapping[str, bytes]:
    """Return the contents of all files, by their paths in the folder."""
    texts = {
        "topology.yaml": topology_text(choices),
        "task.py": task_text(choices),
        "README.md": readme_text(choices),
    }
    if choices.hosts:
        texts["hosts.yaml"] = hosts_text(choices)
    files = {name: text.encode() for name, text in texts.items()}
    if choices.owns:
        for devices in choices.tree().values():
            for device in devices:
                for name, content in samples(choices.task, device).items():
                    files[f"data/{device}/{name}"] = content
    return files
