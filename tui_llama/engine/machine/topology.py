"""Processors, cores and memory nodes of this machine, and how much of them this process may use."""

import os
from collections.abc import Iterable
from pathlib import Path

_DEVICES = Path("/sys/devices/system")
_CGROUPS = Path("/sys/fs/cgroup")
_PROCESS = Path("/proc/self")


def usable_processors() -> frozenset[int]:
    """Returns the processors that the system lets this process use."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def physical_core_count(processors: Iterable[int] | None = None) -> int:
    """Counts the cores among these processors, up to the CPU quota; processors that share one core count once.

    Args:
        processors: None for all that this process may use.
    """
    cores = set()
    for processor in usable_processors() if processors is None else processors:
        siblings = _DEVICES / "cpu" / f"cpu{processor}" / "topology" / "thread_siblings_list"
        try:
            cores.add(siblings.read_text())
        except OSError:  # not Linux, or a container that hides it: every processor counts
            cores.add(str(processor))
    quota = _quota()
    return max(1, len(cores) if quota is None else min(len(cores), int(quota)))


def memory_nodes() -> list[frozenset[int]]:
    """Returns the processors of each memory node; an empty list where the system does not say."""
    lists = sorted((_DEVICES / "node").glob("node[0-9]*/cpulist"))
    return [frozenset(_in_list(path.read_text())) for path in lists]


def current_processor() -> int:
    """Returns the processor that this thread runs on now: field 39 of its status, see proc(5)."""
    return int((_PROCESS / "stat").read_text().rpartition(")")[2].split()[36])


def _in_list(text: str) -> Iterable[int]:
    """Yields the numbers in a list such as "0-3,8"."""
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            yield from range(int(first), int(last or first) + 1)


def _quota() -> float | None:
    """Returns the processors' time that the control groups of this process allow, in processors; None: no limit."""
    try:
        groups = (_PROCESS / "cgroup").read_text()
    except OSError:
        return None
    quotas = []
    for line in groups.splitlines():
        number, controllers, group = line.split(":", 2)
        if number == "0" or "cpu" in controllers.split(","):
            quotas += _quotas_of_group(group.strip("/"), is_unified=number == "0")
    return min(quotas, default=None)


def _quotas_of_group(group: str, *, is_unified: bool) -> list[float]:
    """Returns the limits of a control group and of all above it, in processors."""
    root = _CGROUPS if is_unified else _CGROUPS / "cpu"
    # In a container the path may be the host's; the container's own group is then at the root.
    folders = [root, *(root.joinpath(*group.split("/")[:depth]) for depth in range(1, len(group.split("/")) + 1))]
    names = ["cpu.max"] if is_unified else ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
    quotas = []
    for folder in folders:
        try:
            quota, period, *_ = " ".join((folder / name).read_text() for name in names).split()
        except (OSError, ValueError):  # no limit is set here, or it cannot be read
            continue
        if quota not in ("max", "-1"):
            quotas.append(int(quota) / int(period))
    return quotas
