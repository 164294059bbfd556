"""The texts and the README table that `benchmarks.compare` makes from its measurements."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tui_llama.bench.measure import Result

README_BEGIN, README_END = "<!-- comparison: begin -->", "<!-- comparison: end -->"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of one test, which both programs ran in turns.

    Args:
        ours: The result of tui_llama.
        their_seconds: The seconds of each repetition of llama.cpp.
        flash: Whether llama.cpp used flash attention, because that was faster.
    """

    ours: Result
    their_seconds: tuple[float, ...]
    flash: bool

    @property
    def their_samples_tok_s(self) -> list[float]:
        """The tokens a second of each repetition of llama.cpp."""
        return [self.ours.test.token_count / seconds for seconds in self.their_seconds]

    @property
    def their_median_tok_s(self) -> float:
        """The median of llama.cpp's tokens a second."""
        return statistics.median(self.their_samples_tok_s)

    @property
    def ratio(self) -> float:
        """The speed of tui_llama divided by that of llama.cpp, by the medians."""
        return self.ours.median_tok_s / self.their_median_tok_s


@dataclass(frozen=True, slots=True)
class StartComparison:
    """The times to the first token, with a warm page cache and a warm kernel cache.

    Args:
        model: The model's name.
        our_seconds: The seconds of the whole command, of each run.
        their_seconds: The seconds of loading and reading one token, of each run, without the start of the program.
    """

    model: str
    our_seconds: tuple[float, ...]
    their_seconds: tuple[float, ...]


def describe(comparison: Comparison) -> str:
    """Returns everything that was measured in a test, for the terminal."""
    ours, limits, share = comparison.ours, comparison.ours.best_limits, 100 * comparison.ours.share_of_limit
    attention = "flash attention" if comparison.flash else "no flash attention"
    machine = f"machine: {limits.read_gb_s:.1f} GB/s, {limits.multiply_gmac_s:.0f} GMAC/s"
    return (
        f"{model_name(ours)} {ours.test.name}\n"
        f"  llama.cpp  {_samples(comparison.their_samples_tok_s)} tok/s ({attention})\n"
        f"  tui_llama  {_samples(ours.samples_tok_s)} tok/s\n"
        f"  ratio {comparison.ratio:.2f}; {share:.0f} % of {ours.limit_tok_s:.1f} tok/s ({machine})\n"
    )


def describe_start(start: StartComparison) -> str:
    """Returns everything that was measured of a start, for the terminal."""
    return (
        f"{start.model} start to first token\n"
        f"  llama.cpp  {_samples(start.their_seconds, 2)} s\n"
        f"  tui_llama  {_samples(start.our_seconds, 2)} s\n"
    )


def readme_table(comparisons: Sequence[Comparison], starts: Sequence[StartComparison], conditions: str) -> str:
    """Returns the table of the README, in Markdown.

    Args:
        comparisons: The tests, one for each row.
        starts: The starts, for the last rows.
        conditions: Sentences about the machine and the programs.
    """
    lines = [
        conditions,
        "",
        "| model | test | llama.cpp | tui_llama | ratio | limit | of limit | of vector limit |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for each in comparisons:
        ours = each.ours
        lines.append(
            f"| {model_name(ours)} | {ours.test.name} | {each.their_median_tok_s:.1f} | {ours.median_tok_s:.1f} "
            f"| {each.ratio:.2f} | {ours.limit_tok_s:.1f} | {100 * ours.share_of_limit:.0f} % "
            f"| {100 * ours.share_of_vector_limit:.0f} % |"
        )
    for start in starts:
        ours_median, theirs_median = statistics.median(start.our_seconds), statistics.median(start.their_seconds)
        lines.append(
            f"| {start.model} | start to first token | {theirs_median:.2f} s | {ours_median:.2f} s "
            f"| {theirs_median / ours_median:.2f} | | | |"
        )
    return "\n".join(lines) + "\n"


def as_json(comparisons: Sequence[Comparison], starts: Sequence[StartComparison], conditions: str) -> str:
    """Returns all samples as JSON, for programs."""
    rows = [
        {
            "model": model_name(each.ours),
            "test": each.ours.test.name,
            "our_samples_tok_s": each.ours.samples_tok_s,
            "their_samples_tok_s": each.their_samples_tok_s,
            "flash_attention": each.flash,
            "ratio": each.ratio,
            "limit_tok_s": each.ours.limit_tok_s,
            "share_of_limit": each.ours.share_of_limit,
            "vector_limit_tok_s": each.ours.vector_limit_tok_s,
            "share_of_vector_limit": each.ours.share_of_vector_limit,
            "read_gb_s": [sample.read_gb_s for sample in each.ours.limits],
            "dot_gmac_s": [sample.dot_gmac_s for sample in each.ours.limits],
            "tile_gmac_s": [sample.tile_gmac_s for sample in each.ours.limits],
        }
        for each in comparisons
    ]
    start_rows = [
        {"model": each.model, "our_seconds": each.our_seconds, "their_seconds": each.their_seconds} for each in starts
    ]
    return json.dumps({"conditions": conditions, "tests": rows, "starts": start_rows}, indent=2) + "\n"


def write_into(readme: Path, table: str) -> None:
    """Replaces the text between the two markers of a file by a table.

    Raises:
        SystemExit: the file has no such markers.
    """
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(README_BEGIN)
    _, end, after = rest.partition(README_END)
    if not (begin and end):
        raise SystemExit(f"{readme} has no lines {README_BEGIN} and {README_END}")
    readme.write_text(f"{before}{begin}\n{table}{end}{after}", encoding="utf-8")


def model_name(result: Result) -> str:
    """Returns the model's name, with the weight type if the name does not contain it."""
    name, quantization = Path(result.model.path).stem, result.model.quantization
    return name if quantization.lower() in name.lower() else f"{name} ({quantization})"


def _samples(values: Sequence[float], digits: int = 1) -> str:
    """Returns the median and all values, in the order in which they were measured."""
    listed = " ".join(f"{value:.{digits}f}" for value in values)
    return f"{statistics.median(values):.{digits}f}  [{listed}]"
