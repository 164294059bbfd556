"""A child process that measures how fast this machine reads memory, and prints that in bytes a second.

Whoever only wants to know how fast a model would write needs no more of `machine_limits` than this.
"""

from collections.abc import Sequence
from typing import Final

_BUFFER_BYTES: Final = 256 << 20  # of this much, the largest caches of today hold little


def measure_read_speed() -> float:
    """Bytes that a thread for each core reads a second, together."""
    from tui_llama.engine.machine_limits import MachineLimits
    from tui_llama.engine.topology import physical_core_count

    return MachineLimits(buffer_bytes=_BUFFER_BYTES).read_bytes_per_second(physical_core_count())


def main(_arguments: Sequence[str]) -> None:
    """The child: prints the figure."""
    print(round(measure_read_speed()), flush=True)
