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
from tui_llama.engine.machine.free_memory import memory_and_free
from tui_llama.files.own_files import replace_own_file
from tui_llama.system.child_process import child_command

_MEASURING_SECONDS: Final = 60.0  # with a kernel to be compiled first, on a busy machine
_FILE_NAME: Final = "machine.json"
_PROCESSOR_TABLE: Final = Path("/proc/cpuinfo")


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
    memory_bytes, free_bytes = memory_and_free()
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
