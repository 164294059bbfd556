"""Measures how long it takes to store and to load the keys and values of a chat.

    python -m benchmarks.prompt_cache [--tokens 8192] [--layers 16] [--kv-heads 8] [--head-dim 64] [--cache-type q8_0]

The default sizes are those of a Llama 3.2 1B: 256 MB for 8192 tokens in float16. No model is run, so the check of the
last token, which a model would compute again, is left out; all other checks are done. Beside each load the program
prints the time to read the same file without checking it. The file comes from the page cache, or from the disk after
the system was asked to drop it from the page cache. Targets: 0.5 s from the page cache, 1 s from a disk of 1 GB/s, and
for a turn little more bytes written than the keys and values of its new tokens.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.resume import forget
from tui_llama.engine.model.kv_moves import PositionMoves
from tui_llama.engine.model.sequence import Sequence
from tui_llama.engine.prompt_cache.cache import PromptCache
from tui_llama.engine.state_file import StateFingerprint
from tui_llama.engine.state_shape import RECORD_TOKENS, StateShape
from tui_llama.engine.tensors.kv_cache import CacheShape, KeyValueCache
from tui_llama.engine.token_sequence import LogitsRows
from tui_llama.errors import CallerError
from tui_llama.files.storage import DiskStorage

_OWNER = bytes(range(16))
_TURN_TOKENS = 200
_VOCAB_SIZE = 30000
_READ_BYTES = 8 << 20
_BUDGET_BYTES = 1 << 40


class _NoModel:
    """Computes nothing: keys and values of the tokens that are fed stay as they were filled in."""

    def __init__(self, shape: CacheShape) -> None:
        self._cache_shape = shape
        self.state_shape = shape.state
        self.fingerprint = StateFingerprint(bytes(32), bytes(16), 1)
        self.batch_tokens, self.context_size, self.vocab_size = 1, shape.context_size, _VOCAB_SIZE

    @property
    def moves(self) -> PositionMoves:
        raise CallerError("nothing is moved here")

    def new_cache(self) -> KeyValueCache:
        return KeyValueCache(self._cache_shape)

    def run(
        self, cache: KeyValueCache, token_ids: NDArray[np.int32], *, every_token: bool, rotation_offset: int = 0
    ) -> LogitsRows:
        cache.append(len(token_ids))
        return np.zeros((1, 1), np.float32)


def main() -> None:
    """Measures and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=8192, help="tokens of the chat")
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--kv-heads", type=int, default=8)
    parser.add_argument("--head-dim", type=int, default=64)
    parser.add_argument("--cache-type", choices=["f16", "q8_0"], default="f16")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="where to write; else a temporary folder")
    options = parser.parse_args()
    state_shape = StateShape.uniform(options.layers, options.kv_heads, options.head_dim, options.cache_type)
    model = _NoModel(CacheShape(state_shape, options.tokens + 1))
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)

        def opened() -> PromptCache:
            return PromptCache(DiskStorage(folder), model.fingerprint, state_shape, _BUDGET_BYTES)

        chat = _filled(model, options.tokens)
        _save(opened(), chat, folder, state_shape)
        (path,) = folder.rglob("*.tlk")
        for where, forgets in (("page cache", False), ("disk", True)):
            _load(opened, chat, model, path, options.runs, where, forgets)


def _filled(model: _NoModel, count: int) -> Sequence:
    chat, chance = Sequence(model), np.random.default_rng(0)
    sizes = model.state_shape.kv_shape(model.state_shape.groups[0], RECORD_TOKENS)
    if model.state_shape.dtype == "f16":
        rows: Any = chance.standard_normal(sizes, np.float32).astype(np.float16)
    else:
        rows = np.tile(np.array([0, 0x20, *range(1, 33)], np.uint8), (*sizes[:3], sizes[3] // 34))
    for first in range(0, count, RECORD_TOKENS):
        chat.fill(0, first, rows[:, : count - first])
    chat.adopt([int(token_id) for token_id in chance.integers(0, _VOCAB_SIZE, count)])
    return chat


def _save(cache: PromptCache, chat: Sequence, folder: Path, shape: StateShape) -> None:
    """Saves all but the last turn, then the last turn, and prints the times."""
    count = len(chat.token_ids)
    whole = chat.token_ids[:]
    before = 0
    for length in (count - _TURN_TOKENS, count):
        chat.rewind(min(length, len(chat.token_ids)))
        chat.adopt(whole[len(chat.token_ids) : length])
        started = perf_counter()
        written = cache.save(_OWNER, chat).tokens
        seconds = perf_counter() - started
        size = sum(path.stat().st_size for path in folder.rglob("*.tlk"))
        share = (size - before) / (written * shape.token_bytes)
        print(f"saved {written} tokens in {seconds:.3f} s: {(size - before) / 1e6:.1f} MB, {share:.4f} × their own")
        before = size


def _load(opened: Any, chat: Sequence, model: _NoModel, path: Path, runs: int, where: str, forgets: bool) -> None:
    loads, reads = [], []
    for _ in range(runs):
        if forgets:
            forget(path)
        sequence, cache = Sequence(model), opened()
        started = perf_counter()
        outcome = cache.restore(sequence, chat.token_ids)
        loads.append(perf_counter() - started)
        assert outcome.tokens == len(chat.token_ids), outcome
        if forgets:
            forget(path)
        started = perf_counter()
        _read(path)
        reads.append(perf_counter() - started)
    megabytes = path.stat().st_size / 1e6
    load, read = statistics.median(loads), statistics.median(reads)
    print(
        f"loaded {len(chat.token_ids)} tokens, {megabytes:.0f} MB, from the {where}: median {load:.3f} s"
        f" ({min(loads):.3f} … {max(loads):.3f}); read alone {read:.3f} s, {megabytes / 1e3 / read:.1f} GB/s"
    )


def _read(path: Path) -> None:
    content = memoryview(bytearray(_READ_BYTES))
    with path.open("rb", buffering=0) as file:
        while file.readinto(content):
            pass


if __name__ == "__main__":
    main()
