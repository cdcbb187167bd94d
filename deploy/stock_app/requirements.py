"""Whether what a Flower app depends on is installed here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version

from packaging.requirements import InvalidRequirement, Requirement

from hierfl.errors import ConfigError


def refuse_absent(file: str, dependencies: Sequence[str]) -> None:
    """See that an app's dependencies are installed, Flower's version among them.

    Args:
        file: the app's pyproject.toml, for the error text.
        dependencies: its requirements, such as `torch>=2.5`.

    Raises:
        ConfigError: some are not installed, or have another version.
    """
    if problems := list(_unmet(dependencies)):
        listed = "\n".join(f"  - {said}" for _, said in problems)
        wanted = " ".join(f'"{requirement}"' for requirement, _ in problems)
        raise ConfigError(
            file,
            f"the app needs packages that this environment does not have:\n{listed}",
            f"Install them where hierfl is installed: pip install {wanted}\n"
            "Where hierfl needs another version, change the app's [project] dependencies.",
        )


def _unmet(dependencies: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each requirement that is not met, and why."""
    for text in dependencies:
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            yield text, f"{text!r} is not a requirement: {str(error).splitlines()[0]}"
            continue
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        if requirement.name == "hierfl":  # this is it, installed or not
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            yield text, f"{requirement.name} is not installed"
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            yield text, f"{text} is needed, and {requirement.name} {installed} is installed"
