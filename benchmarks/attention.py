"""Measures the speed of attention alone, beside the machine's limits: fused multiply-adds, and reading memory.

    python -m benchmarks.attention [--depths 0,1024,4096] [--threads 2] [--cache-type q8_0]

It runs layers of attention, with nothing between them, over a cache filled with random keys and values. The default
sizes are those of a Llama 3.2 1B. The speed of a prompt is given in 10⁹ multiply-accumulates of float32 a second, the
speed of a single token in 10⁹ bytes of keys and values read a second. All measurements take turns, run by run. The
program prints medians, and their share of the median of the limit.
"""

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from threading import Thread
from time import perf_counter
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils

from tui_llama.bench.machine_limits import MachineLimits
from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.layouts import attention as attention_sizes
from tui_llama.engine.layouts.attention import RUN_POSITIONS
from tui_llama.engine.layouts.plan_row import PER_TOKEN_GROUP, ROW
from tui_llama.engine.machine.memory import zeroed_array
from tui_llama.engine.plan.plan import Plan, PlanStep
from tui_llama.engine.plan.runner import PlanRunner
from tui_llama.engine.state_shape import StateShape
from tui_llama.engine.tensors.kv_cache import CacheShape, KeyValueCache
from tui_llama.engine.threads.team import ThreadTeam
from tui_llama.engine.toolchain.loader import LoadedCode, linked
from tui_llama.engine.toolchain.numba_codegen import intrinsic, machine_code

_CHAINS = 16  # chains of multiply-adds that do not wait for each other
_ROUNDS = 200_000


@intrinsic
def _multiply_add(_: Any, memory: Any, rounds: Any) -> Any:
    """Does 16 × 16 multiply-adds in registers in each of `rounds`."""

    def generate(context: Any, b: simd.Builder, signature: Any, arguments: Any) -> simd.Value:
        base = simd.pointer(b, arguments[0])
        x, y = simd.load(b, base, 0, simd.F32), simd.load(b, base, 64, simd.F32)
        sums = [simd.lane_variable(b, simd.constant(simd.F32, float(i))) for i in range(_CHAINS)]
        with cgutils.for_range(b, arguments[1]):
            for place in sums:
                b.store(simd.fma(b, x, y, b.load(place)), place)
        for i, place in enumerate(sums):
            simd.store(b, b.load(place), base, 128 + 64 * i)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def _multiply(memory: int, rounds: int) -> None:
    _multiply_add(memory, rounds)


@cache
def _compiled_multiply() -> LoadedCode:
    return linked(machine_code(_multiply, "ii"), "ii")


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of the model, the number of threads, and the type of keys and values."""

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    threads: int
    cache_type: str


class Attention:
    """Layers of attention over a filled cache.

    Args:
        sizes: The sizes of the layers.
        positions: The number of positions in the cache.
        tokens: The largest number of tokens in a batch.
    """

    def __init__(self, sizes: Sizes, positions: int, tokens: int) -> None:
        self._sizes = sizes
        shape = CacheShape(
            StateShape.uniform(sizes.layers, sizes.kv_heads, sizes.head_dim, sizes.cache_type), positions
        )
        self._cache = KeyValueCache(shape)
        _fill(self._cache)
        width = shape.width(sizes.head_dim)
        queries = zeroed_array((tokens, sizes.heads, width), np.float32)
        queries[...] = np.random.default_rng(1).standard_normal(queries.shape, np.float32)
        outputs = zeroed_array((tokens, sizes.heads * sizes.head_dim), np.float32)
        runs = -(-positions // attention_sizes.RUN_POSITIONS)
        shared = zeroed_array((attention_sizes.shared_bytes(width, sizes.kv_heads, runs),), np.uint8)
        rows = np.zeros(sizes.layers, ROW)
        for name, value in {
            "input": queries.ctypes.data, "input_stride": queries.strides[0], "output": outputs.ctypes.data,
            "output_stride": outputs.strides[0], "shared": shared.ctypes.data, "shared_runs": runs,
            "units": sizes.kv_heads * -(-32 // sizes.kv_heads), "heads": sizes.heads,
            "head_dim": sizes.head_dim, "padded_head_dim": width,
            "scale": sizes.head_dim**-0.5, "per_token": PER_TOKEN_GROUP, "barrier": 1,
            "tokens_per_unit": attention_sizes.MOST_ROWS * sizes.kv_heads // sizes.heads,
        }.items():  # fmt: skip
            rows[name] = value
        for layer in range(sizes.layers):
            for name, value in shape.row_fields(layer).items():
                rows[layer][name] = value
        steps = [PlanStep("attention", "")] * sizes.layers
        scratch = attention_sizes.scratch_bytes(width, width)
        plan = Plan(rows, steps, None, None, scratch, [queries, outputs, shared])  # type: ignore[arg-type]
        plan.set_kernels()
        self._team = ThreadTeam(sizes.threads)
        self._runner = PlanRunner(plan, self._team)

    def close(self) -> None:
        """Ends the threads."""
        self._team.close()

    def prompt_rate(self, depth: int, tokens: int) -> float:
        """Reads a prompt after `depth` tokens and returns 10⁹ multiply-accumulates a second."""
        products = 2 * self._sizes.layers * self._sizes.heads * self._sizes.head_dim
        return products * (tokens * depth + tokens * (tokens + 1) / 2) / self._seconds(depth, tokens) / 1e9

    def token_rate(self, depth: int) -> float:
        """Reads one token after `depth` others and returns 10⁹ bytes of keys and values a second."""
        return self._cache.shape.state.token_bytes * (depth + 1) / self._seconds(depth, 1) / 1e9

    def _seconds(self, depth: int, tokens: int) -> float:
        start = perf_counter()
        self._runner.run(
            keys=self._cache.keys_address, values=self._cache.values_address, token_count=tokens, first_position=depth,
            first_output_token=0,
        )  # fmt: skip
        return perf_counter() - start


def _fill(cache: KeyValueCache) -> None:
    """Fills the cache with random keys and values. Quantised ones are in a valid range."""
    chance, shape = np.random.default_rng(0), cache.shape
    sizes = shape.state.kv_shape(shape.state.groups[0], RUN_POSITIONS)
    for first in range(0, shape.context_size, RUN_POSITIONS):
        if shape.state.dtype == "f16":
            rows: Any = chance.standard_normal(sizes, np.float32).astype(np.float16)
        else:
            rows = np.tile(np.array([0, 0x20, *range(1, 33)], np.uint8), (*sizes[:3], sizes[3] // 34))
        cache.fill(0, first, rows[:, : shape.context_size - first])
    cache.append(shape.context_size)


def _multiply_rate(threads: int) -> float:
    """Returns 10⁹ float32 multiply-accumulates a second of all threads together."""
    memories = [zeroed_array((2048,), np.uint8) for _ in range(threads)]
    multiply = _compiled_multiply().call
    workers = [Thread(target=multiply, args=(int(memory.ctypes.data), _ROUNDS)) for memory in memories]
    start = perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return threads * _ROUNDS * _CHAINS * simd.LANES / (perf_counter() - start) / 1e9


def main() -> None:
    """Measures and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", default="0,1024,4096", help="tokens before the prompt or token, with commas")
    parser.add_argument("--tokens", type=int, default=512, help="tokens of a prompt")
    parser.add_argument("--runs", type=int, default=7, help="how often everything is measured")
    parser.add_argument("--threads", type=int, default=2, help="threads that compute")
    parser.add_argument("--cache-type", default="f16", choices=("f16", "q8_0"), help="how keys and values are kept")
    parser.add_argument("--layers", type=int, default=16, help="layers of the model")
    parser.add_argument("--heads", type=int, default=32, help="query heads")
    parser.add_argument("--kv-heads", type=int, default=8, help="key-value heads")
    parser.add_argument("--head-dim", type=int, default=64, help="components of a head")
    options = parser.parse_args()
    depths = [int(depth) for depth in options.depths.split(",")]
    sizes = Sizes(
        options.layers, options.heads, options.kv_heads, options.head_dim, options.threads, options.cache_type
    )
    limits = MachineLimits()
    attention = Attention(sizes, max(depths) + options.tokens, options.tokens)
    reading, multiplying = "reading memory", "multiply-adds alone"
    measures: dict[str, Callable[[], float]] = {
        multiplying: lambda: _multiply_rate(sizes.threads),
        reading: lambda: limits.sample(sizes.threads).read_gb_s,
    }
    for depth in depths:
        measures[f"{options.tokens} tokens after {depth}"] = lambda depth=depth: attention.prompt_rate(  # type: ignore[misc]
            depth, options.tokens
        )
        measures[f"one token after {depth}"] = lambda depth=depth: attention.token_rate(depth)  # type: ignore[misc]
    results = {name: statistics.median(values) for name, values in _in_turns(measures, options.runs).items()}
    attention.close()
    for name, value in results.items():
        is_bytes = name == reading or name.startswith("one token")
        limit = results[reading if is_bytes else multiplying]
        print(f"{name:<24}{value:8.1f} {'GB/s' if is_bytes else 'GMAC/s':<7}{value / limit:6.0%}")


def _in_turns(measures: dict[str, Callable[[], float]], runs: int) -> dict[str, list[float]]:
    """Takes each measurement `runs` times, in turns. One round before them warms up and does not count."""
    results: dict[str, list[float]] = {name: [] for name in measures}
    for turn in range(runs + 1):
        for name, measure in measures.items():
            value = measure()
            if turn:
                results[name].append(value)
    return results


if __name__ == "__main__":
    main()
