"""Measures how soon a chat answers after a new start of the program, with a real model.

    python -m benchmarks.resume MODEL.gguf [--tokens 8192] [--runs 5]

The engine reads a prompt once and generates one token. Then each run starts a new process, loads the model and asks for
an answer to the same prompt. The stored prompt comes from the page cache, or from the disk after the system was asked
to drop the file from the page cache. The time goes from the request to the first token: the engine finds the prompt's
tokens in the prompt cache, loads their keys and values, computes the last of them again as a check, and runs one step
of the model. Targets for 8,192 tokens of a 1B model: 0.5 s from the page cache, 1 s from a disk of 1 GB/s.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

from tui_llama.chat import Usage
from tui_llama.engine.events import Failed, Finished, TextPiece
from tui_llama.engine.process.worker import EngineWorker
from tui_llama.engine.requests import CompleteRequest, LoadRequest
from tui_llama.sampling.settings import SamplingSettings

_CHAT = "ab" * 16
_SPARE_TOKENS = 16
_SENTENCE = "The quick brown fox jumps over the lazy dog. "
_SENTENCE_TOKENS = 10


async def first_token(request: LoadRequest, text: str) -> tuple[float, Usage]:
    """Returns the seconds from the request to the first token in a new process, and the usage."""
    worker = EngineWorker()
    try:
        async for progress in worker.load(request):
            _check(progress)
        seconds, started = 0.0, perf_counter()
        ask = CompleteRequest(1, text, SamplingSettings(temperature=0.0), max_tokens=1, ignore_eos=True, chat_id=_CHAT)
        async for event in worker.reply(ask):
            _check(event)
            if isinstance(event, TextPiece) and not seconds:
                seconds = perf_counter() - started
            if isinstance(event, Finished):
                return seconds or perf_counter() - started, event.usage
        raise SystemExit("the engine ended without an answer")
    finally:
        await worker.close()


def _check(event: object) -> None:
    if isinstance(event, Failed):
        raise SystemExit(event.message)


def main() -> None:
    """Measures and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model file")
    parser.add_argument("--tokens", type=int, default=8192, help="about how many tokens the chat has")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to store; else a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        request = LoadRequest(
            str(options.model), options.tokens * 5 // 4 + _SPARE_TOKENS, prompt_cache_folder=folder,
            prompt_cache_bytes=1 << 40,
        )  # fmt: skip
        text = _SENTENCE * (options.tokens // _SENTENCE_TOKENS)
        seconds, usage = asyncio.run(first_token(request, text))
        print(f"read {usage.read_tokens:,} tokens: first token after {seconds:.2f} s")
        (path,) = Path(folder).rglob("*.tlk")
        for where, forgets in (("page cache", False), ("disk", True)):
            times = []
            for _ in range(options.runs):
                if forgets:
                    forget(path)
                seconds, usage = asyncio.run(first_token(request, text))
                times.append(seconds)
            print(
                f"resumed from the {where}, {path.stat().st_size / 1e6:.0f} MB, {usage.reused_tokens:,} reused,"
                f" {usage.read_tokens} read: median {statistics.median(times):.3f} s"
                f" ({min(times):.3f} … {max(times):.3f})"
            )


def forget(path: Path) -> None:
    """Asks the system to drop a file from its page cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
