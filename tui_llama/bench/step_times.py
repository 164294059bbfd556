"""Measures how long each step of a model's plan takes: while a prompt is read, and while tokens are written."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from tui_llama.bench.measure import MeasuredModel, SpeedTest, make_loads

if TYPE_CHECKING:
    from tui_llama.settings import Settings

PROMPT_TOKENS: Final = 256
ANSWER_TOKENS: Final = 32
_REPETITIONS: Final = 5


class StepTime(msgspec.Struct, frozen=True):
    """The time of one step of a plan: the least of a few repetitions, so that other programs do not show.

    Attributes:
        operation: The name of the kernel.
        detail: What it works on.
        weight_bytes: Bytes of weights that it reads.
        reading_seconds: Seconds for each token of a prompt.
        writing_seconds: Seconds for each token that is written.
    """

    operation: str
    detail: str
    weight_bytes: int
    reading_seconds: float
    writing_seconds: float


def measure_steps(path: Path, settings: "Settings", say: Callable[[str], None]) -> list[StepTime]:
    """Loads a model and returns the time of each step of its plan, in the plan's order.

    Args:
        path: The model.
        settings: How it is loaded.
        say: Is told what is being done.

    Raises:
        UserError: the model cannot be loaded.
    """
    threads, batch_threads = [settings.threads], [settings.batch_threads]
    (load,) = make_loads(
        [str(path)],
        settings,
        threads,
        batch_threads,
        [settings.batch_tokens],
        [settings.cache_type],
        [settings.experts],
    )
    request = msgspec.structs.replace(load, context_size=PROMPT_TOKENS + ANSWER_TOKENS)
    with MeasuredModel.open(request, say) as measured:
        reading = _least(measured, SpeedTest(reads=True, token_count=PROMPT_TOKENS))
        writing = _least(measured, SpeedTest(reads=False, token_count=ANSWER_TOKENS, depth=PROMPT_TOKENS))
        steps = measured.model.plan.steps
    return [
        StepTime(step.operation, step.detail, step.weight_bytes, read, written)
        for step, read, written in zip(steps, reading, writing, strict=True)
    ]


def _least(measured: MeasuredModel, test: SpeedTest) -> list[float]:
    """Returns the seconds for each token that each step of the plan takes."""
    measured.warm_up(test)
    repetitions = [[seconds for _, seconds in measured.profile_steps(test)] for _ in range(_REPETITIONS)]
    return [min(of_step) / test.token_count for of_step in zip(*repetitions, strict=True)]
