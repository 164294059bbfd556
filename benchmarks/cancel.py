"""Measures how long a stop takes: from the request to stop until the engine reports the end of the answer.

    python -m benchmarks.cancel -m MODEL.gguf [--rounds 10]

It stops in two phases: while a long prompt is read, and while an answer is written. The engine runs in its own process,
as in the program with the screen. Target: at most 0.5 s.
"""

import argparse
import asyncio
import statistics
import time
from pathlib import Path

from tui_llama.engine.events import Failed, Finished, PromptProgress, TextPiece
from tui_llama.engine.process.worker import EngineWorker
from tui_llama.engine.protocol import ReplyEvent
from tui_llama.engine.requests import CompleteRequest, LoadRequest
from tui_llama.sampling.settings import SamplingSettings

_TARGET_SECONDS = 0.5
_WORDS = 1500
_EVENTS_BEFORE_STOP = 6


async def _seconds_to_stop(engine: EngineWorker, turn: int, text: str, awaited: type[ReplyEvent]) -> float:
    """Asks for an answer, stops it after some events of type `awaited`, and returns the seconds that the stop took."""
    request = CompleteRequest(turn, f"{turn} {text}", SamplingSettings(temperature=0.0))
    seen, wished, ended = 0, 0.0, 0.0
    async for event in engine.reply(request):
        if isinstance(event, Failed):
            raise SystemExit(event.message)
        seen += isinstance(event, awaited)
        if seen == _EVENTS_BEFORE_STOP and not wished:
            wished = time.perf_counter()
            engine.cancel()
        if isinstance(event, Finished):
            ended = time.perf_counter()
    if not wished:
        raise SystemExit("the answer ended before it could be stopped; take a larger model")
    return ended - wished


async def _measure(model: Path, rounds: int) -> None:
    engine = EngineWorker()
    try:
        async for event in engine.load(LoadRequest(str(model))):
            if isinstance(event, Failed):
                raise SystemExit(event.message)
        prompt = " ".join(f"word {index}" for index in range(_WORDS))
        phases: list[tuple[str, str, type[ReplyEvent]]] = [
            ("reading", prompt, PromptProgress),
            ("answering", "Once upon a time", TextPiece),
        ]
        turn = 0
        for name, text, awaited in phases:
            samples = []
            for _ in range(rounds):
                turn += 1
                samples.append(await _seconds_to_stop(engine, turn, text, awaited))
            verdict = "met" if max(samples) <= _TARGET_SECONDS else "missed"
            print(
                f"stop while {name}: median {statistics.median(samples):.3f} s, max {max(samples):.3f} s "
                f"of {rounds} (target {_TARGET_SECONDS} s: {verdict})"
            )
    finally:
        await engine.close()


def main() -> None:
    """Measures and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", type=Path, required=True, help="model file")
    parser.add_argument("--rounds", type=int, default=10, help="stops of each kind")
    options = parser.parse_args()
    asyncio.run(_measure(options.model, options.rounds))


if __name__ == "__main__":
    main()
