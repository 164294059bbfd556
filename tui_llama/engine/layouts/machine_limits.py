"""What the threads of a pass over memory share, and the sizes that its kernel and its caller agree on."""

from tui_llama.engine.layouts.wait_gate import CACHE_LINE_BYTES, GATE_BYTES

CHUNK_BYTES = 1 << 20
SCRATCH_BYTES = 4096
GROUPS = 4

# How many threads have come stands first, then the next chunk, then a gate that opens when all are there.
CHUNK_AT = CACHE_LINE_BYTES
GATE_AT = 2 * CACHE_LINE_BYTES
PASS_BYTES = GATE_AT + GATE_BYTES
