"""Runs single kernels of a plan for tests: one row, one batch, one or more threads."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tui_llama.engine.layouts.plan_row import ROW
from tui_llama.engine.plan.plan import Plan, PlanStep
from tui_llama.engine.plan.runner import PlanRunner
from tui_llama.engine.tensors.kv_cache import KeyValueCache
from tui_llama.engine.threads.team import ThreadTeam


def run_kernel(name: str | tuple[str, str], batch: dict[str, int], threads: int = 1, **fields: Any) -> None:
    """Runs one row of kernel `name` over a batch; of two names the second is the kernel that the first one calls."""
    names = (name, "") if isinstance(name, str) else name
    row = np.zeros(1, ROW)
    for field, value in ({"barrier": 1, "units": 1} | fields).items():
        row[field] = value
    plan = Plan(row, [PlanStep(names[0], "", inner_operation=names[1])], None, None, 4 << 20, [])  # type: ignore[arg-type]
    plan.set_kernels()
    with ThreadTeam(threads) as team:
        PlanRunner(plan, team).run(**batch)


def address(array: npt.NDArray[Any]) -> int:
    """Returns the address of an array's first byte."""
    return int(array.ctypes.data)


def through(source: npt.NDArray[np.float32], target: npt.NDArray[np.float32]) -> dict[str, int]:
    """Returns the fields of a row that goes from one array to another, tokens first."""
    return {
        "input": address(source), "input_stride": source.strides[0],
        "output": address(target), "output_stride": target.strides[0],
    }  # fmt: skip


def batch_of(cache: KeyValueCache, tokens: int, first: int) -> dict[str, int]:
    """Returns the fields of a batch of tokens from position `first` on."""
    return {
        "keys": cache.keys_address, "values": cache.values_address, "token_count": tokens, "first_position": first,
    }  # fmt: skip
