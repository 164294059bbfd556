"""Measures the memory and the processor time of screen and engine while the user thinks.

    python -m benchmarks.rest -m MODEL.gguf [--ctx 4096] [--seconds 10]

The whole program runs in a pseudo-terminal with an empty home, loads the model, answers a question, and then gets no
input. It uses the compiled kernels of this user; processes that end before the measurement compile those that are
missing. Memory is the proportional set size, in which a shared page counts in part.
Targets: the file's tensors × 1.1 + keys and values as float16 + 250 MB, and no processor time. Layers with a window may
keep twice as many positions as it has; all others keep the whole context.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.terminal import Terminal
from tui_llama.engine.gguf.file import open_gguf
from tui_llama.engine.plan.architectures import architecture_named
from tui_llama.engine.plan.sizes.read_sizes import read_sizes
from tui_llama.engine.tensors.kv_cache import state_shape_of
from tui_llama.paths import KERNEL_CACHE_VARIABLE, kernel_cache_folder

_MEGABYTE = 1e6
_ALLOWED_BESIDES_BYTES = 250_000_000
_LONGEST_SECONDS = 300.0
_SETTLING_SECONDS = 22.0  # the caret blinks for ten to twenty seconds
_IDLE_PERCENT = 0.5  # the least that the clock of the system can measure
_PROCESSES = Path("/proc")


def main() -> None:
    """Measures and prints the figures."""
    options = _parse_arguments()
    if not (_PROCESSES / "self" / "smaps_rollup").exists():
        raise SystemExit("this needs Linux: /proc tells what processes take")
    with tempfile.TemporaryDirectory() as home:
        environment = {
            **os.environ,
            KERNEL_CACHE_VARIABLE: str(kernel_cache_folder()),
            "TUI_LLAMA_HOME": home,
            "TUI_LLAMA_MAX_TOKENS": str(options.tokens),
        }
        command = [sys.executable, "-m", "tui_llama", "-m", str(options.model.absolute()), "--ctx", str(options.ctx)]
        with Terminal(command, environment) as terminal:
            _wait_for(terminal, "ready")
            terminal.paste("Why is the sky blue? " * options.questions)
            terminal.type("\r")
            _wait_for(terminal, "read · ")
            _leave_alone(terminal, _SETTLING_SECONDS)
            processes = list(_tree(terminal.process_id))
            before = [_processor_seconds(process) for process in processes]
            _leave_alone(terminal, options.seconds)
            _report_processor(processes, before, options.seconds)
            _report_memory(processes, _allowed_bytes(options.model, options.ctx))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", type=Path, required=True, help="model file")
    parser.add_argument("--ctx", type=int, default=4096, help="context in tokens")
    parser.add_argument("--questions", type=int, default=100, help="how often the question stands in the prompt")
    parser.add_argument("--tokens", type=int, default=16, help="tokens of the answer")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long it is left alone")
    return parser.parse_args()


def _wait_for(terminal: Terminal, text: str) -> None:
    if terminal.wait_for(text, _LONGEST_SECONDS) is None:
        raise SystemExit(f"the program does not get as far as {text!r}")


def _leave_alone(terminal: Terminal, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        terminal.watch(left)


def _tree(process: int) -> Iterator[int]:
    """Yields a process and all its descendants."""
    yield process
    for task in (_PROCESSES / str(process) / "task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _tree(int(child))


def _processor_seconds(process: int) -> float:
    """Returns the processor seconds of all threads of a process: fields 14 and 15 of its status, see proc(5)."""
    fields = (_PROCESSES / str(process) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_bytes(process: int) -> dict[str, int]:
    """Returns the system's counts of a process's memory in bytes, such as "Pss"."""
    lines = (_PROCESSES / str(process) / "smaps_rollup").read_text().splitlines()[1:]
    return {name: int(value.split()[0]) * 1024 for name, _, value in (line.partition(":") for line in lines)}


def _allowed_bytes(model: Path, context_size: int) -> float:
    with open_gguf(model) as file:
        shape = state_shape_of(read_sizes(file, architecture_named(file.get_str("general.architecture"))).sizes, "f16")
        weight_bytes = sum(len(file.tensor_bytes(name)) for name in file.tensors)
    windows = [group for group in shape.groups if group.window]
    window_bytes = sum(shape.group_bytes(group) * min(group.window, context_size) for group in windows)
    cache_bytes = shape.lasting_bytes * context_size + 2 * window_bytes
    print(f"weights {weight_bytes / _MEGABYTE:.0f} MB, keys and values {cache_bytes / _MEGABYTE:.0f} MB")
    return weight_bytes * 1.1 + cache_bytes + _ALLOWED_BESIDES_BYTES


def _names(processes: list[int]) -> list[str]:
    """Returns a name for each process. The first is the screen, which starts the engine."""
    return ["screen", *("engine" for _ in processes[1:])]


def _report_processor(processes: list[int], before: list[float], seconds: float) -> None:
    used = [_processor_seconds(process) - start for process, start in zip(processes, before, strict=True)]
    for name, busy in zip(_names(processes), used, strict=True):
        print(f"{name}: {busy / seconds:.1%} of a processor")
    verdict = "met" if 100 * sum(used) / seconds <= _IDLE_PERCENT else "missed"
    print(f"at rest: {sum(used) / seconds:.1%} of a processor over {seconds:.0f} s (target 0 %: {verdict})")


def _report_memory(processes: list[int], allowed_bytes: float) -> None:
    memory = [_memory_bytes(process) for process in processes]
    for name, counts in zip(_names(processes), memory, strict=True):
        shown = ", ".join(f"{kind} {counts[kind] / _MEGABYTE:.0f} MB" for kind in ("Pss", "Rss", "Anonymous"))
        print(f"{name}: {shown}")
    total = sum(counts["Pss"] for counts in memory)
    verdict = "met" if total <= allowed_bytes else "missed"
    print(f"memory: {total / _MEGABYTE:.0f} MB (target {allowed_bytes / _MEGABYTE:.0f} MB: {verdict})")


if __name__ == "__main__":
    main()
