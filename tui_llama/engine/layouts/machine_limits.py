"""Memory shared by the threads of a machine measurement, and the sizes that the kernels and their caller agree on."""

from tui_llama.engine.layouts.wait_gate import CACHE_LINE_BYTES, GATE_BYTES

CHUNK_BYTES = 1 << 20
SCRATCH_BYTES = 4096
GROUPS = 4

# The memory holds the count of threads that have arrived, the next chunk, and a gate that opens when all are there.
CHUNK_AT = CACHE_LINE_BYTES
GATE_AT = 2 * CACHE_LINE_BYTES
PASS_BYTES = GATE_AT + GATE_BYTES
