"""How much memory this process may use, and how much of it is free: of the machine, or of its control group."""

import os
from pathlib import Path
from typing import Final

OVERHEAD_BYTES: Final = 300_000_000
"""Bytes that the program needs with a model, besides its weights and the keys and values."""

_MEMORY_TABLE: Final = Path("/proc/meminfo")
_CONTROL_GROUP: Final = Path("/sys/fs/cgroup")
_GROUP_LIMIT: Final = ("memory.max", "memory/memory.limit_in_bytes")  # of version 2 and of version 1
_GROUP_USE: Final = ("memory.current", "memory/memory.usage_in_bytes")
_GROUP_TABLE: Final = (("memory.stat", "inactive_file"), ("memory/memory.stat", "total_inactive_file"))


def memory_and_free() -> tuple[int, int | None]:
    """Returns bytes in all and bytes free: of the machine, or of what a container may use if that is less."""
    table = _memory_table()
    memory_bytes = table.get("MemTotal") or _pages("SC_PHYS_PAGES") or 0
    free_bytes = table.get("MemAvailable", _pages("SC_AVPHYS_PAGES"))
    limit_bytes = _group_number(_GROUP_LIMIT)
    if limit_bytes and (not memory_bytes or limit_bytes < memory_bytes):
        # What was read from files lately counts as used, but is given up as soon as anybody wants the memory.
        used_bytes = max(0, (_group_number(_GROUP_USE) or 0) - _group_cache_bytes())
        left_bytes = max(0, limit_bytes - used_bytes)
        return limit_bytes, left_bytes if free_bytes is None else min(free_bytes, left_bytes)
    return memory_bytes, free_bytes


def _memory_table() -> dict[str, int]:
    """Returns Linux's table, in bytes; empty elsewhere."""
    try:
        lines = _MEMORY_TABLE.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return {}
    parts = [line.split() for line in lines if line.endswith("kB")]
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in parts if len(words) == 3 and words[1].isdigit()}


def _pages(name: str) -> int | None:
    try:
        count = os.sysconf(name)
        return count * os.sysconf("SC_PAGE_SIZE") if count >= 0 else None
    except (AttributeError, OSError, ValueError):  # a system that does not tell
        return None


def _group_number(names: tuple[str, ...]) -> int | None:
    """Returns a number of this process's control group (Linux); None where there is none or no limit."""
    for name in names:
        try:
            text = (_CONTROL_GROUP / name).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        return int(text) if text.isdigit() else None
    return None


def _group_cache_bytes() -> int:
    """Returns how many bytes of files the control group keeps and has not used lately; 0 where nobody knows.

    Source: https://docs.kernel.org/admin-guide/cgroup-v2.html (memory.stat).
    """
    for name, key in _GROUP_TABLE:
        try:
            lines = (_CONTROL_GROUP / name).read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            continue
        pairs = (line.split() for line in lines)
        return next((int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] == key and pair[1].isdigit()), 0)
    return 0


def most_new_bytes() -> int | None:
    """Returns the most bytes that this process can fill now without being ended for it; None if unknown.

    This is the free memory and, where no control group limits it, what is left of the space for pages that are moved
    out of it.
    """
    memory_bytes, free_bytes = memory_and_free()
    table = _memory_table()
    is_limited = memory_bytes < table.get("MemTotal", 0)
    return None if free_bytes is None else free_bytes + (0 if is_limited else table.get("SwapFree", 0))
