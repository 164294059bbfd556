"""Gates in memory that compiled threads wait at; waiting.py has the code that opens them and waits.

A gate is a block of `GATE_BYTES`: a count of its openings that threads wait on to change, and, apart from it, a mutex
and a condition for those that sleep.
"""

import ctypes

CACHE_LINE_BYTES = 64
# A line for the count, and room for the mutex (at most 64 bytes on Linux and macOS) and the condition (at most 48).
GATE_BYTES = 3 * CACHE_LINE_BYTES
MUTEX_AT, CONDITION_AT = CACHE_LINE_BYTES, 2 * CACHE_LINE_BYTES


def prepare_gate(address: int) -> None:
    """Makes zeroed memory at `address` a gate that was never opened."""
    library = ctypes.CDLL(None)
    for initialise, at in ((library.pthread_mutex_init, MUTEX_AT), (library.pthread_cond_init, CONDITION_AT)):
        initialise(ctypes.c_void_p(address + at), None)
