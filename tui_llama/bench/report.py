"""Prints the results of `tui-llama bench`: as a table in Markdown, or as JSON for programs.

The columns of the table are fixed before anything is measured. So each row can be printed as soon as it is measured.
"""

import json
from collections.abc import Callable, Iterable, Sequence

from tui_llama.bench.machine_limits import HAS_TILE_MULTIPLIER
from tui_llama.bench.measure import Result
from tui_llama.engine.machine.instruction_sets import INSTRUCTION_SET
from tui_llama.engine.requests import LoadRequest
from tui_llama.output import Output
from tui_llama.text_safety import sanitize_line

Cell = Callable[[Result], str]

# Columns that are shown if their values differ between rows.
_VARYING: dict[str, Callable[[LoadRequest], object]] = {
    "threads": lambda load: load.threads,
    "batch threads": lambda load: load.batch_threads,
    "batch": lambda load: load.batch_tokens,
    "cache": lambda load: load.cache_type,
    "experts": lambda load: load.experts,
}
_TEXTS = ("model", "cache", "experts", "test", "samples", "operation")


class Table:
    """A Markdown table of results.

    Args:
        loads: All requests with which models will be opened.
    """

    def __init__(self, loads: Sequence[LoadRequest]) -> None:
        self._cells: dict[str, Cell] = {"model": _model_name}
        for name, value in _VARYING.items():
            if name == "threads" or len({value(load) for load in loads}) > 1:
                self._cells[name] = _cell_of_load(value)
        self._cells |= {
            "test": lambda result: result.test.name,
            "tok/s": lambda result: f"{result.median_tok_s:.1f}",
            "samples": lambda result: " ".join(f"{sample:.1f}" for sample in result.samples_tok_s),
            "limit": lambda result: f"{result.limit_tok_s:.1f} ({limiting(result)})",
            "of limit": lambda result: f"{100 * result.share_of_limit:.0f} %",
        }
        if HAS_TILE_MULTIPLIER:
            self._cells["of vector limit"] = lambda result: f"{100 * result.share_of_vector_limit:.0f} %"

    def head(self) -> str:
        """Returns the names of the columns and the line below them."""
        return _table_head(list(self._cells))

    def row(self, result: Result) -> str:
        """Returns the row of one result."""
        return _table_line(cell(result) for cell in self._cells.values())


def print_results(results: Iterable[Result], loads: Sequence[LoadRequest], form: str, output: Output) -> None:
    """Prints results as soon as they are measured.

    Args:
        results: The results, in the order of the rows.
        loads: All requests with which models will be opened.
        form: "md" or "json".
        output: The output that prints them.
    """
    if form == "json":
        output.result(as_json(list(results)))
        return
    table, done = Table(loads), []
    output.result(table.head())
    for result in results:
        output.result(table.row(result))
        done.append(result)
    output.result(foot(done))


def foot(results: Sequence[Result]) -> str:
    """Returns the text below the table: the machine's limits, and the profiles."""
    limits = (
        f"\nLimits of this machine during the tests ({INSTRUCTION_SET}): {describe_limits(results)}.\n"
        "The limit of a repetition is the better of the samples right before and after it. The table has medians.\n"
    )
    return limits + "".join("\n" + _profile_table(result) for result in results if result.profile)


def as_json(results: Sequence[Result]) -> str:
    """Returns a JSON list with one object for each result."""
    return json.dumps([_as_object(result) for result in results], indent=2) + "\n"


def describe_limits(results: Sequence[Result]) -> str:
    """Returns the lowest and the highest sample of each limit, in words."""
    text = f"{_range(results, 'read_gb_s')} GB/s read, {_range(results, 'dot_gmac_s')} GMAC/s of vector dot products"
    return f"{text}, {_range(results, 'tile_gmac_s')} GMAC/s of tile products" if HAS_TILE_MULTIPLIER else text


def limiting(result: Result) -> str:
    """Returns the kind of the limit in one word: "read", "dot" or "tile"."""
    if result.is_limited_by_reading:
        return "read"
    return "tile" if result.best_limits.tile_gmac_s else "dot"


def _as_object(result: Result) -> dict[str, object]:
    return {
        **_speed_fields(result),
        **_model_fields(result),
        **_setting_fields(result),
        **_cost_fields(result),
        "read_gb_s": [sample.read_gb_s for sample in result.limits],
        "dot_gmac_s": [sample.dot_gmac_s for sample in result.limits],
        "tile_gmac_s": [sample.tile_gmac_s for sample in result.limits],
        "profile": _profile_objects(result),
    }


def _speed_fields(result: Result) -> dict[str, object]:
    test = result.test
    return {
        "test": test.name,
        "samples_tok_s": result.samples_tok_s,
        "median_tok_s": result.median_tok_s,
        "limit_tok_s": result.limit_tok_s,
        "vector_limit_tok_s": result.vector_limit_tok_s,
        "limited_by": limiting(result),
        "share_of_limit": result.share_of_limit,
        "share_of_vector_limit": result.share_of_vector_limit,
        "prompt_tokens": test.token_count if test.reads else 0,
        "generated_tokens": 0 if test.reads else test.token_count,
        "depth": test.depth,
    }


def _model_fields(result: Result) -> dict[str, object]:
    model = result.model
    return {
        "model": model.name,
        "model_path": model.path,
        "architecture": model.architecture,
        "quantization": model.quantization,
        "parameter_count": model.parameter_count,
    }


def _setting_fields(result: Result) -> dict[str, object]:
    load = result.load
    return {
        "threads": load.threads,
        "batch_threads": load.batch_threads,
        "batch_tokens": load.batch_tokens,
        "cache_type": load.cache_type,
        "experts": load.experts,
        "cpu_mask": load.cpu_mask,
        "cpu_range": load.cpu_range,
        "priority": load.priority,
        "poll": load.poll,
        "numa": load.numa,
        "instruction_set": INSTRUCTION_SET,
    }


def _cost_fields(result: Result) -> dict[str, object]:
    cost, token_count = result.cost, result.test.token_count
    return {
        "weight_bytes_per_token": cost.weight_bytes / token_count,
        "cache_bytes_per_token": cost.cache_bytes / token_count,
        "matrix_macs_per_token": cost.matrix_macs / token_count,
        "attention_macs_per_token": cost.attention_macs / token_count,
    }


def _profile_objects(result: Result) -> list[dict[str, object]]:
    return [
        {
            "operation": time.operation,
            "seconds": time.seconds,
            "read_bytes": time.read_bytes,
            "macs": time.macs,
        }
        for time in result.profile
    ]


def _profile_table(result: Result) -> str:
    """Returns a table with the time of each operation for each token of the test, the longest first."""
    total, tokens = sum(time.seconds for time in result.profile), result.test.token_count
    text = f"{_model_name(result)}, {result.test.name}: {1e3 * total / tokens:.3f} ms a token\n\n"
    text += _table_head(["operation", "ms/token", "share", "GB/s", "GMAC/s"])
    for time in sorted(result.profile, key=lambda time: -time.seconds):
        text += _table_line(
            [
                time.operation,
                f"{1e3 * time.seconds / tokens:.3f}",
                f"{100 * time.seconds / total:.1f} %",
                f"{time.read_bytes / time.seconds / 1e9:.1f}" if time.read_bytes else "",
                f"{time.macs / time.seconds / 1e9:.0f}" if time.macs else "",
            ]
        )
    return text


def _range(results: Iterable[Result], name: str) -> str:
    """Returns the lowest and the highest sample of one limit."""
    values = [getattr(sample, name) for result in results for sample in result.limits]
    return f"{min(values):.0f} … {max(values):.0f}" if min(values) >= 100 else f"{min(values):.1f} … {max(values):.1f}"


def _model_name(result: Result) -> str:
    """Returns the model's name, weight type and size, sanitized, because the name comes from the model file."""
    name = sanitize_line(result.model.name).replace("|", "\\|")
    return f"{name} {result.model.quantization} {result.model.weight_bytes / 1e9:.2f} GB"


def _cell_of_load(value: Callable[[LoadRequest], object]) -> Cell:
    return lambda result: str(value(result.load))


def _table_head(names: Sequence[str]) -> str:
    return _table_line(names) + _table_line("---" if name in _TEXTS else "---:" for name in names)


def _table_line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |\n"
