"""Compares tui_llama and llama.cpp on the same machine, in turns, beside the limits of the machine meanwhile.

    python -m benchmarks.compare -m MODEL.gguf [-m …] [--llama-bench PATH | --llama-cpp-python PYTHON]

Without one of the last two options, the program builds llama-cpp-python for this processor from the package registry,
once, below the user's cache folder. Both programs hold the model and take turns: one repetition of theirs, one of ours,
and the next time in the opposite order. The machine's limits are measured before, between and after. llama-bench loads
the model for each run, so it does all its repetitions between two halves of ours. llama.cpp runs in its fastest form:
built for this processor, with batches of 512, and with or without flash attention, whichever is faster while it warms
up. No other program should run meanwhile. A measurement that other virtual machines disturb is repeated (quiet.py).

The program prints samples and medians in tokens a second, and for the first model the time to the first token.
--write-readme puts the table into the README.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter

from benchmarks.comparison_table import (
    Comparison,
    StartComparison,
    as_json,
    describe,
    describe_start,
    model_name,
    readme_table,
    write_into,
)
from benchmarks.peer import (
    BATCH_TOKENS,
    LlamaBench,
    LlamaCpp,
    LlamaCppPython,
    build_llama_cpp_python,
    seconds_to_first_token,
)
from benchmarks.quiet import MOST_STOLEN, undisturbed
from tui_llama.bench.machine_limits import LimitSample, MachineLimits, best_of
from tui_llama.bench.measure import MeasuredModel, Result, SpeedTest, make_tests
from tui_llama.bench.report import describe_limits
from tui_llama.engine.machine.instruction_sets import INSTRUCTION_SET
from tui_llama.engine.machine.topology import physical_core_count
from tui_llama.engine.requests import LoadRequest

_README = Path(__file__).resolve().parents[1] / "README.md"
_READING_TRIAL_TOKENS, _WRITING_TRIAL_TOKENS = 128, 8
_START_CONTEXT = 4096


class Duel:
    """A comparison of both programs with one model.

    Args:
        ours: The model in tui_llama.
        theirs: The model in llama.cpp.
        threads: The number of threads of each program.
        limits: Measures the limits of the machine.
        attentions: The kinds of attention that llama.cpp may choose from: True is flash attention, False is not.
    """

    def __init__(
        self, ours: MeasuredModel, theirs: LlamaCpp, threads: int, limits: MachineLimits, attentions: Sequence[bool]
    ) -> None:
        self._ours, self._theirs, self._threads = ours, theirs, threads
        self._limits, self._attentions = limits, attentions

    def fight(self, test: SpeedTest, repetitions: int) -> Comparison:
        """Runs one test with both programs in turns."""
        self._ours.warm_up(test)
        flash = self._faster_attention(test)
        ours: list[float] = []
        theirs: list[float] = []
        limits: list[LimitSample] = []
        measure_limits = partial(self._limits.sample, self._threads)
        before = undisturbed(measure_limits)
        for is_ours, count in turns(repetitions, self._theirs.takes_turns):
            if is_ours:
                ours += [undisturbed(partial(self._ours.repeat, test)) for _ in range(count)]
            else:
                theirs += undisturbed(partial(self._theirs.seconds, test, count, flash))
            after = undisturbed(measure_limits)
            limits += [best_of([before, after])] * (count if is_ours else 0)
            before = after
        return Comparison(self._ours.result(test, ours, limits), tuple(theirs), flash)

    def _faster_attention(self, test: SpeedTest) -> bool:
        """Warms llama.cpp up with some tokens for each kind of attention, and returns the faster kind."""
        if not self._theirs.takes_turns and len(self._attentions) == 1:
            return self._attentions[0]  # llama-bench warms up by itself
        count = min(test.token_count, _READING_TRIAL_TOKENS if test.reads else _WRITING_TRIAL_TOKENS)
        trial = SpeedTest(test.reads, count, test.depth)
        seconds = {
            flash: min(undisturbed(partial(self._theirs.seconds, trial, 2, flash))) for flash in self._attentions
        }
        return min(seconds, key=lambda flash: seconds[flash])


def turns(repetitions: int, one_by_one: bool) -> Iterator[tuple[bool, int]]:
    """Yields whose turn it is (True: ours), and the number of repetitions.

    Args:
        repetitions: The number of repetitions of each program.
        one_by_one: Whether the programs take turns after each repetition. Else theirs are between two halves of ours.
    """
    if one_by_one:
        for index in range(repetitions):
            yield from ((is_ours, 1) for is_ours in (index % 2 == 1, index % 2 == 0))
        return
    yield True, (repetitions + 1) // 2
    yield False, repetitions
    if repetitions > 1:
        yield True, repetitions // 2


def main() -> None:
    """Measures and prints the figures, and writes them to files if the options say so."""
    options = _parse_arguments()
    if options.llama_bench is None and options.llama_cpp_python is None:
        options.llama_cpp_python = build_llama_cpp_python()
    limits = MachineLimits()
    comparisons: list[Comparison] = []
    starts: list[StartComparison] = []
    peers: dict[str, None] = {}
    for model in options.model:
        theirs = _open_peer(model, options)
        try:
            for comparison in _compare_speed(model, theirs, limits, options):
                comparisons.append(comparison)
                print(describe(comparison), flush=True)
        finally:
            theirs.close()
        peers[theirs.name] = None
        if options.start and not starts and options.llama_cpp_python is not None:
            starts.append(_compare_starts(model, model_name(comparisons[-1].ours), options))
            print(describe_start(starts[-1]), flush=True)
    conditions = _conditions(", ".join(peers), options.threads, [comparison.ours for comparison in comparisons])
    table = readme_table(comparisons, starts, conditions)
    print(table)
    if options.json:
        options.json.write_text(as_json(comparisons, starts, conditions))
    if options.write_readme:
        write_into(_README, table)


def _tests(model: Path, options: argparse.Namespace) -> list[SpeedTest]:
    """Returns the tests for this model."""
    depths = options.depth
    if options.deep and not any(text in model.name for text in options.deep):
        depths = [depth for depth in depths if depth == 0]
    return make_tests(options.prompt, options.predict, depths)


def _context_size(tests: Sequence[SpeedTest]) -> int:
    return max(test.depth + test.token_count for test in tests)


def _open_peer(model: Path, options: argparse.Namespace) -> LlamaCpp:
    if options.llama_bench is not None:
        return LlamaBench(options.llama_bench, model, options.threads)
    return LlamaCppPython(options.llama_cpp_python, model, options.threads, _context_size(_tests(model, options)))


def _compare_speed(
    model: Path, theirs: LlamaCpp, limits: MachineLimits, options: argparse.Namespace
) -> Iterator[Comparison]:
    """Opens our model and yields the comparison of each test."""
    tests, threads = _tests(model, options), options.threads
    load = LoadRequest(
        str(model), _context_size(tests), threads=threads, batch_threads=threads, batch_tokens=BATCH_TOKENS
    )
    attentions = {"on": (True,), "off": (False,), "best": (True, False)}[options.flash]
    with MeasuredModel.open(load, _tell) as ours:
        duel = Duel(ours, theirs, threads, limits, attentions)
        for test in tests:
            yield duel.fight(test, options.repetitions)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", type=Path, action="append", required=True, help="model file; repeatable")
    parser.add_argument("-p", "--prompt", type=_numbers, default=(512,), help="tokens to read, with commas")
    parser.add_argument("-n", "--predict", type=_numbers, default=(64,), help="tokens to write, with commas")
    parser.add_argument("-d", "--depth", type=_numbers, default=(0, 4096), help="tokens there before, with commas")
    parser.add_argument("--deep", action="append", help="depths only for files with this in their name; repeatable")
    parser.add_argument("-t", "--threads", type=int, default=physical_core_count(), help="threads, for both")
    parser.add_argument("-r", "--repetitions", type=int, default=5, help="samples of each program")
    parser.add_argument("--flash", choices=["best", "on", "off"], default="best", help="llama.cpp's flash attention")
    peer = parser.add_mutually_exclusive_group()
    peer.add_argument("--llama-bench", type=Path, help="llama.cpp's own program")
    peer.add_argument("--llama-cpp-python", type=Path, metavar="PYTHON", help="interpreter that has the library")
    parser.add_argument("--no-start", dest="start", action="store_false", help="leave out the time to the first token")
    parser.add_argument("--json", type=Path, help="write all samples to this file")
    parser.add_argument("--write-readme", action="store_true", help="put the table into the README")
    return parser.parse_args()


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _compare_starts(model: Path, name: str, options: argparse.Namespace) -> StartComparison:
    """Starts both programs in turns. The first start of each does not count."""
    command = [
        *(sys.executable, "-m", "tui_llama", "complete", "Once upon a time", "-n", "1", "--temp", "0"),
        *("-m", str(model), "-t", str(options.threads), "--ctx", str(_START_CONTEXT)),
    ]
    ours, theirs = [], []

    def our_seconds() -> float:
        started = perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        return perf_counter() - started

    def their_seconds() -> float:
        return seconds_to_first_token(options.llama_cpp_python, model, options.threads, _START_CONTEXT)

    for _ in range(options.repetitions + 1):
        ours.append(undisturbed(our_seconds))
        theirs.append(undisturbed(their_seconds))
    return StartComparison(name, tuple(ours[1:]), tuple(theirs[1:]))


def _conditions(peer: str, threads: int, results: Sequence[Result]) -> str:
    """Returns sentences about the machine and the programs."""
    return (
        f"Tokens a second, medians; {_processor()}, {threads} threads, {INSTRUCTION_SET}; {peer}. "
        f"The machine meanwhile: {describe_limits(results)}. "
        f"What other machines disturbed, by more than {MOST_STOLEN * 100:.0f} % of the time, was measured again."
    )


def _processor() -> str:
    """Returns the processor's name, or "unknown processor" if the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown processor"


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
