"""Gates in memory at which compiled threads wait; kernels/waiting.py opens them and waits.

A gate is a block of `GATE_BYTES`. Its first cache line counts its openings; a waiting thread polls this count. The
other lines hold a mutex and a condition for threads that sleep.
"""

import ctypes

CACHE_LINE_BYTES = 64
# One line for the count, one for the mutex (at most 64 bytes on Linux and macOS), one for the condition (at most 48).
GATE_BYTES = 3 * CACHE_LINE_BYTES
MUTEX_AT, CONDITION_AT = CACHE_LINE_BYTES, 2 * CACHE_LINE_BYTES


def prepare_gate(address: int) -> None:
    """Turns zeroed memory at `address` into a gate that was never opened."""
    library = ctypes.CDLL(None)
    for initialise, at in ((library.pthread_mutex_init, MUTEX_AT), (library.pthread_cond_init, CONDITION_AT)):
        initialise(ctypes.c_void_p(address + at), None)
