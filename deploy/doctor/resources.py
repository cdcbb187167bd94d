"""Checks of disk space and memory."""

from __future__ import annotations

import os
from pathlib import Path

from deploy.doctor.finding import Finding, failure, ok, warning
from hierfl.units import size

CGROUPS = Path("/sys/fs/cgroup")


def disk(node: str, folder: Path, needed: int) -> Finding:
    """Check that a node's files fit into a folder, which need not exist yet.

    Args:
        node: its name.
        folder: the folder that it writes to.
        needed: bytes that it needs.
    """
    what = f"disk of {node}"
    place = next(above for above in (folder, *folder.absolute().parents) if above.exists())
    found = os.statvfs(place)
    free = found.f_bavail * found.f_frsize
    if found.f_flag & os.ST_RDONLY or not os.access(place, os.W_OK):
        return failure(what, f"{place} cannot be written to.", "Start the node in another folder.")
    text = f"{size(free)} free for {folder}, {size(needed)} needed"
    if free < needed:
        return failure(what, f"{text}.", "Free some space, or start the node in another folder.")
    if free < 4 * needed:
        return warning(
            what, f"{text}, which is close.", "Free some space, for example by deleting old runs."
        )
    return ok(what, text)


def memory(node: str, needed: int, available: tuple[int, int]) -> Finding:
    """Check that the process of a node, or of all nodes here, fits into memory.

    Args:
        node: its name.
        needed: bytes that it needs.
        available: bytes of memory and of swap.
    """
    what = f"memory of {node}"
    ram, swap = available
    text = f"{size(ram)} available, {size(needed)} needed"
    if ram >= needed:
        return ok(what, text)
    if ram + swap >= needed:
        return warning(what, f"{text}; the rest will be swapped, which is slow.",
                       "Close other programs, or use zram.")  # fmt: skip
    return failure(
        what,
        f"{text}; the kernel would kill it.",
        "Close other programs, add swap, or use a smaller model, data set or batch.",
    )


def available(cgroups: Path = CGROUPS) -> tuple[int, int]:
    """Return the available bytes of memory and of swap.

    The memory of this process counts as available, because it ends before a node starts, and so
    does the page cache. Within a control group (a container, a service) with a limit, the result is
    what the limit leaves, without swap.
    """
    lines = [line.split() for line in Path("/proc/meminfo").read_text().splitlines()]
    told = {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines}
    ram, swap = told["MemAvailable"] + _own(), told["SwapFree"]
    left = [limit for limit in (_left(files) for files in _groups(cgroups)) if limit is not None]
    return (min(ram, *left), 0) if left else (ram, swap)


def _own() -> int:
    """Return the bytes of this process's private memory."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def _groups(cgroups: Path) -> list[tuple[Path, Path]]:
    """Return the files with the limit and the usage of this process's control groups."""
    files = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            top, limit, use = cgroups, "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            top = cgroups / "memory"
            limit, use = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        # Within a container the group may appear as the root group.
        for folder in (top / path.lstrip("/"), top):
            if (folder / limit).exists():
                files.append((folder / limit, folder / use))
                break
    return files


def _left(files: tuple[Path, Path]) -> int | None:
    """Return the bytes that a group may still allocate; None if it has no limit."""
    limit, use = (file.read_text().strip() for file in files)
    if limit == "max" or int(limit) >= 1 << 60:
        return None
    told = [line.split() for line in files[0].with_name("memory.stat").read_text().splitlines()]
    cached = sum(int(count) for key, count in told if key in ("inactive_file", "active_file"))
    return min(int(limit), max(0, int(limit) - int(use)) + cached + _own())
