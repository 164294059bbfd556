"""Describes what this machine has for a model: processor, cores, free memory, and the speed of reading memory.

A process of its own measures the reading speed once, and the program keeps the figure. It measures again on another
processor, with another number of cores, or if other programs were busy meanwhile; then the faster figure counts.
"""

import os
import platform
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from tui_llama import paths
from tui_llama.engine.descriptions import ReadSpeed
from tui_llama.files.own_files import replace_own_file
from tui_llama.system.child_process import child_command

_MEASURING_SECONDS: Final = 60.0  # with a kernel to be compiled first, on a busy machine
_FILE_NAME: Final = "machine.json"
_MEMORY_TABLE: Final = Path("/proc/meminfo")
_PROCESSOR_TABLE: Final = Path("/proc/cpuinfo")
_CONTROL_GROUP: Final = Path("/sys/fs/cgroup")
_GROUP_LIMIT: Final = ("memory.max", "memory/memory.limit_in_bytes")  # of version 2 and of version 1
_GROUP_USE: Final = ("memory.current", "memory/memory.usage_in_bytes")
_GROUP_TABLE: Final = (("memory.stat", "inactive_file"), ("memory/memory.stat", "total_inactive_file"))


class Machine(msgspec.Struct, frozen=True):
    """This machine at one moment.

    Attributes:
        processor: Its name.
        core_count: Processors that this program may use.
        memory_bytes: Bytes of memory that this program may use; 0 if unknown.
        free_bytes: Bytes that are free, or would be if caches were given up; None if unknown.
        read_bytes_per_second: The speed of reading memory; 0 until it was measured.
    """

    processor: str
    core_count: int
    memory_bytes: int = 0
    free_bytes: int | None = None
    read_bytes_per_second: float = 0.0


class _KeptSpeed(msgspec.Struct, frozen=True):
    processor: str
    core_count: int
    read_bytes_per_second: float
    was_disturbed: bool = False


def this_machine() -> Machine:
    """Returns the machine as it is now, with the reading speed if it was measured before; takes no time."""
    return _with_speed(_unmeasured(), _kept_speed())


def measured_machine() -> Machine:
    """Returns the machine with its reading speed; measures that, in about a second, if no good figure was kept.

    A speed that cannot be measured or kept is no error: it stays 0, or is measured again the next time.
    """
    machine, kept = _unmeasured(), _kept_speed()
    if kept is None or kept.was_disturbed:
        measured = _measured_speed()
        before = kept.read_bytes_per_second if kept is not None else 0.0
        if measured is not None:
            speed = max(before, measured.bytes_per_second)
            kept = _KeptSpeed(machine.processor, machine.core_count, speed, measured.was_disturbed)
            _keep(kept)
    return _with_speed(machine, kept)


def _with_speed(machine: Machine, kept: _KeptSpeed | None) -> Machine:
    speed = kept.read_bytes_per_second if kept is not None else 0.0
    return msgspec.structs.replace(machine, read_bytes_per_second=speed)


def _unmeasured() -> Machine:
    memory_bytes, free_bytes = _memory()
    return Machine(processor_name(), _usable_core_count(), memory_bytes, free_bytes)


def processor_name() -> str:
    """Returns the name that the processor gives itself."""
    try:
        lines = _PROCESSOR_TABLE.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model\t")))
    return next(names, "") or platform.processor() or platform.machine()


def _usable_core_count() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


# --- memory -----------------------------------------------------------------------------------------------------


def _memory() -> tuple[int, int | None]:
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


# --- the reading speed --------------------------------------------------------------------------------------------


def _speed_file() -> Path:
    return paths.cache_folder() / _FILE_NAME


def _kept_speed() -> _KeptSpeed | None:
    """Returns what was measured before on this processor with as many cores."""
    try:
        kept = msgspec.json.decode(_speed_file().read_bytes(), type=_KeptSpeed)
    except (OSError, msgspec.MsgspecError):
        return None
    return kept if (kept.processor, kept.core_count) == (processor_name(), _usable_core_count()) else None


def _keep(speed: _KeptSpeed) -> None:
    with suppress(OSError):  # a disk that takes nothing: it is measured again
        replace_own_file(_speed_file(), msgspec.json.encode(speed))


def _measured_speed() -> ReadSpeed | None:
    try:
        done = subprocess.run(
            child_command("tui_llama.bench.read_speed"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_MEASURING_SECONDS,
            check=True,
        )
        return msgspec.json.decode(done.stdout, type=ReadSpeed)
    except (OSError, subprocess.SubprocessError, msgspec.MsgspecError):
        return None
