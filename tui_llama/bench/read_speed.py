"""A child process that measures how fast this machine reads memory, and prints the speed as JSON.

The reading speed is all that is needed to estimate how fast a model would write.
"""

from collections.abc import Sequence
from time import perf_counter, process_time
from typing import Final

import msgspec

from tui_llama.engine.descriptions import ReadSpeed

_BUFFER_BYTES: Final = 256 << 20  # far more than the largest caches of today hold
_UNDISTURBED_SHARE: Final = 0.9


def measure_read_speed(buffer_bytes: int = _BUFFER_BYTES) -> ReadSpeed:
    """Measures the reading speed for about half a second.

    Args:
        buffer_bytes: The size of the block that is read, a multiple of a megabyte.
    """
    from tui_llama.bench.machine_limits import MachineLimits
    from tui_llama.engine import ops
    from tui_llama.engine.machine.topology import physical_core_count

    thread_count = physical_core_count()
    limits = MachineLimits(buffer_bytes=buffer_bytes)
    _ = ops.READ_PASS.address  # compiles the kernel now if necessary, and not while the time is taken
    wall_before, processor_before = perf_counter(), process_time()
    speed = limits.read_bytes_per_second(thread_count)
    wall, processor = perf_counter() - wall_before, process_time() - processor_before
    return ReadSpeed(speed, processor < _UNDISTURBED_SHARE * thread_count * wall)


def main(_arguments: Sequence[str]) -> None:
    """Measures in the child process, and prints the figures as JSON."""
    print(msgspec.json.encode(measure_read_speed()).decode(), flush=True)
