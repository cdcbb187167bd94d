"""Room on the disk and in memory."""

from __future__ import annotations

import os
from pathlib import Path

from deploy.doctor.finding import Finding, failure, ok, warning
from hierfl.units import size

CGROUPS = Path("/sys/fs/cgroup")


def disk(node: str, folder: Path, needed: int) -> Finding:
    """See whether a node's files fit into a folder, which need not be there yet.

    Args:
        node: its name.
        folder: where it writes.
        needed: bytes.
    """
    what = f"disk of {node}"
    place = next(above for above in (folder, *folder.absolute().parents) if above.exists())
    found = os.statvfs(place)
    free = found.f_bavail * found.f_frsize
    if found.f_flag & os.ST_RDONLY or not os.access(place, os.W_OK):
        return failure(what, f"{place} cannot be written to.", "Start the node in another folder.")
    text = f"{size(free)} are free for {folder}, and {size(needed)} are needed"
    if free < needed:
        return failure(what, f"{text}.", "Make room, or start the node in another folder.")
    if free < 4 * needed:
        return warning(what, f"{text}: that is close.", "Make room; old runs may go.")
    return ok(what, text)


def memory(node: str, needed: int, available: tuple[int, int]) -> Finding:
    """See whether a node's process, or all that are here, will fit.

    Args:
        node: its name.
        needed: bytes.
        available: bytes of memory, and of swap.
    """
    what = f"memory of {node}"
    ram, swap = available
    text = f"{size(ram)} are available, and {size(needed)} are needed"
    if ram >= needed:
        return ok(what, text)
    if ram + swap >= needed:
        return warning(what, f"{text}; swap ({size(swap)}) will do the rest, slowly.",
                       "End other programs, or use zram.")  # fmt: skip
    return failure(
        what,
        f"{text}; the kernel would kill it.",
        "End other programs, add swap, or take a smaller model, data set or batch.",
    )


def available(cgroups: Path = CGROUPS) -> tuple[int, int]:
    """Return the bytes of memory that are available here, and of swap.

    What this process holds counts as available: it ends before a node starts; so does what is
    cached of files. Within a control group (a container, a service) with a limit, it is what that
    leaves; swap is not counted there.
    """
    lines = [line.split() for line in Path("/proc/meminfo").read_text().splitlines()]
    told = {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines}
    ram, swap = told["MemAvailable"] + _own(), told["SwapFree"]
    left = [limit for limit in (_left(files) for files in _groups(cgroups)) if limit is not None]
    return (min(ram, *left), 0) if left else (ram, swap)


def _own() -> int:
    """Return the bytes that this process alone holds."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


def _groups(cgroups: Path) -> list[tuple[Path, Path]]:
    """Return the files with the limit and the use of this process's control groups."""
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
        # Within a container the group may be seen as the top one.
        for folder in (top / path.lstrip("/"), top):
            if (folder / limit).exists():
                files.append((folder / limit, folder / use))
                break
    return files


def _left(files: tuple[Path, Path]) -> int | None:
    """Return the bytes that a group may still take; None if it has no limit."""
    limit, use = (file.read_text().strip() for file in files)
    if limit == "max" or int(limit) >= 1 << 60:
        return None
    told = [line.split() for line in files[0].with_name("memory.stat").read_text().splitlines()]
    cached = sum(int(count) for key, count in told if key in ("inactive_file", "active_file"))
    return min(int(limit), max(0, int(limit) - int(use)) + cached + _own())
