"""Measures how fast models read and write tokens on this machine, and how fast the machine would let them.

A test reads tokens as a prompt ("pp512") or writes them one by one ("tg64"). It may do so after other tokens that are
already in the cache ("pp512@d4096"). The tokens are random, because the speed does not depend on them. The cache is
filled once for each depth. After every repetition the sequence is rewound to that depth. The machine's limits are
measured before, between and after the repetitions of a test, so that they belong to the same minutes.

The time does not include sampling, as in llama-bench.
"""

import dataclasses
import itertools
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec
import numpy as np

from tui_llama.bench.machine_limits import LimitSample, MachineLimits, best_of
from tui_llama.bench.roofline import ATTENTION, Cost, batch_cost, batch_lengths
from tui_llama.engine.descriptions import ModelInfo
from tui_llama.engine.events import LoadStage
from tui_llama.engine.local import open_requested
from tui_llama.engine.machine.topology import physical_core_count
from tui_llama.engine.requests import LoadRequest
from tui_llama.engine.threads.placement import Placement, chosen_processors
from tui_llama.errors import SettingsError
from tui_llama.output import percent

if TYPE_CHECKING:
    from tui_llama.engine.model.model import Model
    from tui_llama.engine.plan.plan import Plan, PlanStep
    from tui_llama.settings import Settings

Say = Callable[[str], None]
"""Is told what is being done, for a line of progress."""

_WARM_UP_TOKENS = 8


@dataclass(frozen=True, slots=True)
class SpeedTest:
    """A test to measure.

    Args:
        reads: Whether the tokens are read as a prompt. Else they are written one by one.
        token_count: The number of tokens, at least 1.
        depth: The number of tokens in the cache before.
    """

    reads: bool
    token_count: int
    depth: int = 0

    @property
    def name(self) -> str:
        """The name of the test, such as "pp512" or "tg64@d4096"."""
        name = f"{'pp' if self.reads else 'tg'}{self.token_count}"
        return f"{name}@d{self.depth}" if self.depth else name


@dataclass(frozen=True, slots=True)
class OperationTime:
    """The time of one operation in a profiled repetition.

    Args:
        operation: The name of the kernel.
        seconds: The sum over all its plan steps. Steps of one stage share its time in proportion to the threads'
            time on each.
        read_bytes: The bytes of weights, keys and values read.
        macs: The multiply-accumulates with them.
    """

    operation: str
    seconds: float
    read_bytes: int
    macs: int


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a test.

    Args:
        test: The test.
        model: The model.
        load: How the model was opened, with all defaults filled in.
        seconds: The seconds of each repetition.
        cost: The least cost of one repetition.
        limits: The machine's limits for each repetition: the better of the samples right before and right after it.
        profile: The times of operations in one more repetition; empty if no profile was asked for.
    """

    test: SpeedTest
    model: ModelInfo
    load: LoadRequest
    seconds: tuple[float, ...]
    cost: Cost
    limits: tuple[LimitSample, ...]
    profile: tuple[OperationTime, ...] = ()

    @property
    def samples_tok_s(self) -> list[float]:
        """The tokens a second of each repetition."""
        return [self.test.token_count / seconds for seconds in self.seconds]

    @property
    def median_tok_s(self) -> float:
        """The median of the tokens a second of the repetitions."""
        return statistics.median(self.samples_tok_s)

    @property
    def best_limits(self) -> LimitSample:
        """The best limits of the machine while the test ran."""
        return best_of(self.limits)

    @property
    def limit_tok_s(self) -> float:
        """The tokens a second that the machine could not exceed: the median over the repetitions. See `roofline`."""
        return statistics.median(self._limits_tok_s(self.limits))

    @property
    def vector_limit_tok_s(self) -> float:
        """The same figure for a machine without a tile multiplier."""
        return statistics.median(self._limits_tok_s(self._vector_limits))

    @property
    def share_of_limit(self) -> float:
        """The share of its limit that a repetition reaches: the median over the repetitions."""
        return self._share_of(self.limits)

    @property
    def share_of_vector_limit(self) -> float:
        """The same figure for a machine without a tile multiplier."""
        return self._share_of(self._vector_limits)

    @property
    def _vector_limits(self) -> list[LimitSample]:
        return [dataclasses.replace(sample, tile_gmac_s=0.0) for sample in self.limits]

    def _limits_tok_s(self, limits: Iterable[LimitSample]) -> list[float]:
        return [self.test.token_count / self.cost.least_seconds(sample) for sample in limits]

    def _share_of(self, limits: Iterable[LimitSample]) -> float:
        pairs = zip(self.samples_tok_s, self._limits_tok_s(limits), strict=True)
        return statistics.median(sample / limit for sample, limit in pairs)

    @property
    def is_limited_by_reading(self) -> bool:
        """True if the limit is reading memory, and not multiplying."""
        return self.cost.read_seconds(self.best_limits) > self.cost.multiply_seconds(self.best_limits)


def make_tests(prompts: Iterable[int], answers: Iterable[int], depths: Iterable[int]) -> list[SpeedTest]:
    """Returns a test for every prompt and every answer at every depth, the lowest depth first.

    A count of 0 makes no test.

    Raises:
        SettingsError: no test is left.
    """
    counts = [*((True, count) for count in prompts), *((False, count) for count in answers)]
    tests = [
        SpeedTest(reads, count, depth)
        for depth in sorted(set(depths))
        for reads, count in dict.fromkeys(counts)
        if count
    ]
    if not tests:
        raise SettingsError(
            "there is nothing to measure", "Set the number of tokens to read with -p, or to write with -n."
        )
    return tests


def make_loads(
    models: Iterable[str],
    settings: "Settings",
    threads: Iterable[int],
    batch_threads: Iterable[int],
    batch_tokens: Iterable[int],
    cache_type: Iterable[str],
    experts: Iterable[str],
) -> list[LoadRequest]:
    """Returns the requests to load every model with every combination of the options.

    Everything that is not an argument here is as in the settings.

    Raises:
        SettingsError: the settings place the threads where there are no processors.
    """
    cores = physical_core_count(chosen_processors(Placement(settings.cpu_mask, settings.cpu_range)))
    return [
        msgspec.structs.replace(
            settings,
            threads=team or cores,
            batch_threads=batch_team or team or cores,
            batch_tokens=batch,
            cache_type=cache,
            experts=place,
        ).load_request(model)
        for model, team, batch_team, batch, cache, place in itertools.product(
            models, threads, batch_threads, batch_tokens, cache_type, experts
        )
    ]


def measure(
    loads: Sequence[LoadRequest],
    tests: Sequence[SpeedTest],
    repetitions: int,
    *,
    profile: bool,
    say: Say,
) -> Iterator[Result]:
    """Yields the result of each test as soon as it is measured.

    Args:
        loads: The models and how to open them, all with the same placement.
        tests: The tests for each model, in the order of rising depth.
        repetitions: The number of repetitions, at least 1. One more goes before them as a warm-up and does not count.
        profile: Whether to profile the operations in one more repetition.
        say: Is told what is being done.

    Raises:
        UserError: a model cannot be opened or does not hold the tokens.
    """
    context_size = max(test.depth + test.token_count for test in tests)
    say("measuring the machine")
    limits = MachineLimits(_placement(loads[0]))
    for load in loads:
        request = msgspec.structs.replace(load, context_size=context_size)
        with MeasuredModel.open(request, say) as measured:
            for test in tests:
                yield measured.measure(test, repetitions, profile, limits)


def _placement(load: LoadRequest) -> Placement:
    return Placement(load.cpu_mask, load.cpu_range, load.priority, load.poll, load.numa)


class MeasuredModel:
    """An open model with a sequence that is filled to the depth of each test. A context manager.

    Args:
        model: The model. It is closed at the end.
        load: The request with which it was opened.
        say: Is told what is being done.
    """

    def __init__(self, model: "Model", load: LoadRequest, say: Say) -> None:
        self.model, self._load, self._say = model, load, say
        self._sequence = model.new_sequence()
        numbers = np.random.default_rng(0)
        self._token_ids = numbers.integers(0, model.vocab_size, model.context_size).tolist()

    @classmethod
    def open(cls, request: LoadRequest, say: Say) -> "MeasuredModel":
        """Opens a model. Raises the errors of `open_requested`."""

        def report(stage: LoadStage, done: int, total: int) -> None:
            say(f"loading the model: {stage} {percent(done, total)}")

        return cls(open_requested(request, report), request, say)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sequence.close()
        self.model.close()

    def measure(self, test: SpeedTest, repetitions: int, profile: bool, limits: MachineLimits) -> Result:
        """Repeats a test, and measures the machine before, between and after the repetitions."""
        self._say(f"{test.name}: warming up")
        self.warm_up(test)
        threads = self._load.batch_threads if test.reads else self._load.threads
        before, samples, seconds = limits.sample(threads), [], []
        for index in range(repetitions):
            self._say(f"{test.name}: repetition {index + 1} of {repetitions}")
            seconds.append(self.repeat(test))
            after = limits.sample(threads)
            samples.append(best_of([before, after]))
            before = after
        return self.result(test, seconds, samples, self._profile(test) if profile else ())

    def result(
        self,
        test: SpeedTest,
        seconds: Iterable[float],
        limits: Iterable[LimitSample],
        profile: tuple[OperationTime, ...] = (),
    ) -> Result:
        """Returns the result of a test from the seconds of its repetitions."""
        return Result(test, self.model.info, self._load, tuple(seconds), self.cost(test), tuple(limits), profile)

    def warm_up(self, test: SpeedTest) -> None:
        """Fills the cache to the test's depth and runs some tokens, so that the first repetition is not slower."""
        most = self.model.batch_tokens if test.reads else _WARM_UP_TOKENS
        self.repeat(dataclasses.replace(test, token_count=min(test.token_count, most)))

    def repeat(self, test: SpeedTest) -> float:
        """Runs one repetition, after the test's depth in the cache, and returns its seconds."""
        self._fill(test.depth)
        token_ids = self._token_ids[test.depth : test.depth + test.token_count]
        started = perf_counter()
        if test.reads:
            self._sequence.extend(token_ids)
        else:
            for token_id in token_ids:
                self._sequence.extend([token_id])
        seconds = perf_counter() - started
        self._sequence.rewind(self._sequence.rewindable(test.depth))
        return seconds

    def cost(self, test: SpeedTest) -> Cost:
        """Returns the least cost of one repetition."""
        cost, position = Cost(), test.depth
        for length in batch_lengths(test.token_count, self.model.batch_tokens if test.reads else 1):
            cost += batch_cost(self.model.plan, self.model.info.key_value_bytes_per_token, position, length)
            position += length
        return cost

    def profile_steps(self, test: SpeedTest) -> "list[tuple[PlanStep, float]]":
        """Runs one more repetition; returns the steps of the plan, each with its seconds."""
        self._say(f"{test.name}: profiling")
        with self.model.profile() as times:
            self.repeat(test)
        return times

    def _profile(self, test: SpeedTest) -> tuple[OperationTime, ...]:
        """Runs one more repetition and returns its times, summed by operation."""
        times = self.profile_steps(test)
        batches = list(batch_lengths(test.token_count, self.model.batch_tokens if test.reads else 1))
        return tuple(_by_operation(times, self.model.plan, batches, self.cost(test)))

    def _fill(self, depth: int) -> None:
        if len(self._sequence) > depth:
            self._sequence.rewind(self._sequence.rewindable(depth))
        if missing := self._token_ids[len(self._sequence) : depth]:
            for done, _ in self._sequence.extend_in_chunks(missing):
                self._say(f"filling the cache: {done} of {len(missing)} tokens")


def _by_operation(
    times: "list[tuple[PlanStep, float]]", plan: "Plan", batches: list[int], cost: Cost
) -> Iterator[OperationTime]:
    """Sums the times of the plan's steps by operation.

    Args:
        times: The steps of the plan, each with its seconds.
        plan: The plan that was run.
        batches: The number of tokens in each batch that went through the plan.
        cost: The cost of the whole repetition, which knows what the steps do not: the cost of attention.
    """
    seconds: defaultdict[str, float] = defaultdict(float)
    read_bytes: Counter[str] = Counter({ATTENTION: cost.cache_bytes})
    macs: Counter[str] = Counter({ATTENTION: cost.attention_macs})
    for (step, taken), row in zip(times, plan.rows, strict=True):
        tokens = len(batches) if row["output_tokens_only"] else sum(batches)
        seconds[step.operation] += taken
        read_bytes[step.operation] += step.weight_bytes * len(batches)
        macs[step.operation] += step.macs_per_token * tokens
    for operation, taken in seconds.items():
        yield OperationTime(operation, taken, read_bytes[operation], macs[operation])
