"""Examines the processor, the memory and the compiled kernels. Compiles only the kernel that measures memory, once."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tui_llama.doctor.report import Problem, Row, Section
from tui_llama.engine.machine.free_memory import OVERHEAD_BYTES
from tui_llama.models.downloads import size_words
from tui_llama.models.machine import Machine
from tui_llama.models.starter.file import STARTER_BYTES
from tui_llama.paths import is_folder
from tui_llama.system.child_process import child_command

TITLE: Final = "Processor and memory"
CODE_TITLE: Final = "Machine code"
LEAST_FREE_BYTES: Final = OVERHEAD_BYTES + STARTER_BYTES
"""The bytes of the smallest model that is offered, with the keys and values of a short chat."""

_ERROR_NAME: Final = re.compile(r"^[\w.]+Error: ")
_CHILD_SECONDS: Final = 60.0  # enough for a disk that must first read the compiler


# --- processor and memory -------------------------------------------------------------------------------------------


def look_at_machine() -> Section:
    """Returns the section of processor and memory. Measures the reading speed if it was never measured before."""
    from tui_llama.engine.machine.topology import physical_core_count
    from tui_llama.models.machine import measured_machine

    machine = measured_machine()
    why_unmeasured = "" if machine.read_bytes_per_second else _why_unmeasured()
    return machine_section(machine, physical_core_count(), os.cpu_count() or machine.core_count, why_unmeasured)


def machine_section(machine: Machine, core_count: int, processor_count: int, why_unmeasured: str = "") -> Section:
    """Returns the section of processor and memory.

    Args:
        machine: The machine as it is now.
        core_count: The number of physical cores that this program may use.
        processor_count: The number of all logical processors of the machine.
        why_unmeasured: The error of the child process that should have measured the reading speed; empty for none.
    """
    speed, free_bytes = machine.read_bytes_per_second, machine.free_bytes
    usable = f"{machine.core_count} of {_counted(processor_count, 'processor')} may be used"
    rows = (
        Row("processor", machine.processor),
        Row("cores", f"{_counted(core_count, 'core')}; {usable}", core_count),
        Row("memory", _size(machine.memory_bytes), machine.memory_bytes),
        Row("free memory", "unknown" if free_bytes is None else size_words(free_bytes), free_bytes),
        Row("reads memory", f"{speed / 1e9:.1f} GB a second" if speed else "not measured", speed),
    )
    problems = []
    if free_bytes is not None and free_bytes < LEAST_FREE_BYTES:
        text = f"Only {size_words(free_bytes)} of memory are free, which is too little for another model."
        problems.append(Problem(text, "Close other programs.", is_advice=True))  # a running chat may hold a model
    if not speed:
        text = f"Kernels cannot run on this machine: {why_unmeasured or 'the speed of memory cannot be measured'}."
        problems.append(
            Problem(text, "Solve the other problems first; if there are none, report this as a bug, with this page.")
        )
    return Section(TITLE, rows, tuple(problems))


def _why_unmeasured() -> str:
    """Runs the measuring child process once more and returns its error; empty if it does not fail."""
    return last_words(child_command("tui_llama.bench.read_speed"))


def last_words(command: Sequence[str]) -> str:
    """Runs a command and says why it failed: the last line of its standard error, else its status. Empty on success."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_CHILD_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    if not done.returncode:
        return ""
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return _ERROR_NAME.sub("", lines[-1]).rstrip(".") if lines else f"it ended with status {done.returncode}"


# --- machine code ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeptKernels:
    """The compiled kernels: those of these sources, and those of other sources or processors, by folders."""

    kernel_count: int
    kernel_bytes: int
    other_folder_count: int
    other_bytes: int


def look_at_code(forced_instruction_set: str) -> Section:
    """Returns the section of the machine code.

    Raises:
        UserError: the processor cannot run the instruction set that is asked for, or any that the program has.
    """
    from tui_llama import paths
    from tui_llama.engine.machine.instruction_sets import INSTRUCTION_SET, available_instruction_sets
    from tui_llama.engine.toolchain.object_store import sources_hash

    version = sources_hash()
    kept = kept_kernels(paths.kernel_cache_folder(), version)
    # In a process of its own, as always, because the compiler takes memory. Its error also tells of wrong versions of
    # its packages.
    complaint = last_words([sys.executable, "-P", "-W", "ignore", "-c", "import numba"])
    available = available_instruction_sets()
    return code_section(INSTRUCTION_SET, available, forced_instruction_set, version, kept, complaint)


def kept_kernels(folder: Path, version: str) -> KeptKernels:
    """Counts the kernels below a folder. A folder that cannot be read has none; the folders' section reports it."""
    sizes: dict[str, list[int]] = {}
    for path in folder.glob("*/*.o") if is_folder(folder) else ():
        try:
            sizes.setdefault(path.parent.name, []).append(path.stat().st_size)
        except OSError:  # removed meanwhile by another process
            continue
    ours = sizes.pop(version, [])
    return KeptKernels(len(ours), sum(ours), len(sizes), sum(map(sum, sizes.values())))


def code_section(
    chosen: str, available: Sequence[str], forced: str, version: str, kept: KeptKernels, complaint: str = ""
) -> Section:
    """Returns the section of the machine code.

    Args:
        chosen: The instruction set that is used.
        available: The instruction sets of the processor, best first.
        forced: The instruction set that the environment asks for; empty if it asks for none.
        version: The hash of the sources.
        kept: The compiled kernels.
        complaint: The error of importing the compiler; empty if there is none.
    """
    problems = []
    if complaint:
        text = f"Numba, which compiles kernels, cannot be imported: {complaint}."
        problems.append(Problem(text, "Install the program again, with its packages."))
    reason = f"the best of {', '.join(available)}"
    if forced:
        reason = f"forced by TUI_LLAMA_INSTRUCTION_SET; this processor has {', '.join(available)}"
        if chosen != available[0]:
            text = f"TUI_LLAMA_INSTRUCTION_SET forces {chosen}; {available[0]} would be faster."
            problems.append(Problem(text, "Remove the variable.", is_advice=True))
    compiled = f"{kept.kernel_count} compiled ({size_words(kept.kernel_bytes)}) of version {version}"
    rows = [Row("instruction set", f"{chosen}, {reason}", chosen), Row("kernels", compiled, kept.kernel_count)]
    if kept.other_folder_count:
        of = f"{_counted(kept.other_folder_count, 'other version')}, {size_words(kept.other_bytes)}"
        rows.append(Row("also kept", of, kept.other_bytes))
    return Section(CODE_TITLE, tuple(rows), tuple(problems))


def _size(size_bytes: int) -> str:
    return size_words(size_bytes) if size_bytes else "unknown"


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
