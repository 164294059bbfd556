"""Measures what `tui-llama serve` costs against the engine itself, and how soon an old prompt is answered.

    python -m benchmarks.serve MODEL.gguf [--pairs 15] [--tokens 512] [--long-tokens 8000] [--restarts 3]

Pairs: a served and a direct engine answer the same new prompts, in turn, at temperature 0. The time to the first token
goes from the request to the first text, the speed from there to the last text. Both engines store their prompts, and
the answers must be the same. Targets: both within 3 %.

Restarts: the server reads a long prompt, ends and starts again. Then a client sends the same prompt. Target: the first
token after at most 0.6 s for 8,000 tokens.
"""

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any, NamedTuple

import httpx2
import msgspec

from tui_llama import paths
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.events import Failed, TextPiece
from tui_llama.engine.process.worker import EngineWorker
from tui_llama.engine.requests import LoadRequest, ReplyRequest
from tui_llama.sampling.settings import SamplingSettings

_SENTENCE = "the quick brown fox jumps over a lazy dog while seven grey llamas carry wool down from cold high hills"
_CHAT = "ab" * 16


class Answer(NamedTuple):
    """An answer and its times: seconds to the first text, characters a second after it, and tokens reused.

    Texts are not tokens: those that nobody has taken yet are joined.
    """

    text: str
    first_seconds: float
    characters_per_second: float
    reused_tokens: int = 0


class Served(NamedTuple):
    """A running server: its base URL, and its process."""

    url: str
    process_id: int


@contextmanager
def served(model: Path, home: Path, context_size: int) -> Iterator[Served]:
    """Runs a server, and ends it."""
    command = [sys.executable, "-m", "tui_llama", "serve", "-m", str(model), "--port", "0", "--ctx", str(context_size)]
    environment = {**os.environ, paths.HOME_VARIABLE: str(home)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if found := re.search(r"http://\S+/v1", line):
                    yield Served(found.group(), process.pid)
                    return
            raise SystemExit("the server did not start")
        finally:
            process.terminate()


def ask_server(client: httpx2.Client, url: str, prompt: str, max_tokens: int) -> Answer:
    """Returns the server's answer."""
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": max_tokens,
        "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    texts, times, reused = [], [], 0
    started = perf_counter()
    with client.stream("POST", f"{url}/chat/completions", json=body) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = msgspec.json.decode(line[len("data: ") :])
            for choice in chunk["choices"]:
                if text := choice["delta"].get("content"):
                    texts.append(text)
                    times.append(perf_counter())
            if usage := chunk.get("usage"):
                reused = usage["prompt_tokens_details"]["cached_tokens"]
    return _answer(texts, times, started, reused)


async def ask_engine(engine: EngineWorker, turn: int, prompt: str, max_tokens: int) -> Answer:
    """Returns the engine's answer."""
    request = ReplyRequest(
        turn, (ChatMessage(Role.USER, prompt),), sampling=SamplingSettings(temperature=0.0), max_tokens=max_tokens,
        chat_id=_CHAT,
    )  # fmt: skip
    texts, times = [], []
    started = perf_counter()
    async for event in engine.reply(request):
        if isinstance(event, Failed):
            raise SystemExit(event.message)
        if isinstance(event, TextPiece) and event.text:
            texts.append(event.text)
            times.append(perf_counter())
    return _answer(texts, times, started, 0)


def _answer(texts: list[str], times: list[float], started: float, reused_tokens: int) -> Answer:
    if len(times) < 2:
        raise SystemExit("the model ended its answer at once; choose another model")
    characters = sum(map(len, texts[1:]))
    return Answer("".join(texts), times[0] - started, characters / (times[-1] - times[0]), reused_tokens)


def prompt_of(token_count: int, seed: int) -> str:
    """Returns about so many tokens that no other seed begins with."""
    random = Random(seed)
    return f"Story {seed}: " + " ".join(random.choices(_SENTENCE.split(), k=token_count)) + ". Tell how it goes on."


async def measure_pairs(model: Path, home: Path, pairs: int, token_count: int) -> None:
    """Prints medians of the served and the direct engine, and of their ratios."""
    context_size = 2 * token_count + 512
    direct, through = [], []
    engine = EngineWorker()
    load = LoadRequest(str(model), context_size, prompt_cache_folder=str(home / "direct"), prompt_cache_bytes=1 << 34)
    async for event in engine.load(load):
        if isinstance(event, Failed):
            raise SystemExit(event.message)
    with served(model, home, context_size) as server, httpx2.Client(timeout=None, trust_env=False) as client:
        for number in range(-1, pairs):  # the first pair warms both up
            prompt = prompt_of(token_count, number)
            for asks_server in (number % 2 == 0, number % 2 != 0):
                if asks_server:
                    answer = await asyncio.to_thread(ask_server, client, server.url, prompt, 64)
                    through.append(answer)
                else:
                    direct.append(await ask_engine(engine, number + 2, prompt, 64))
                await asyncio.sleep(0.3)  # both store what they have read before the other begins
    await engine.close()
    del direct[0], through[0]
    for name, get in (
        ("time to the first token", lambda answer: answer.first_seconds),
        ("characters a second", lambda answer: answer.characters_per_second),
    ):
        engines, servers = [*map(get, direct)], [*map(get, through)]
        ratio = statistics.median(b / a for a, b in zip(engines, servers, strict=True))
        print(
            f"{name}: engine {statistics.median(engines):.4g}, served {statistics.median(servers):.4g},"
            f" median ratio {ratio:.3f} of {pairs} pairs"
        )
    same = sum(a.text == b.text for a, b in zip(direct, through, strict=True))
    print(f"the same answers: {same} of {pairs}")


def measure_restarts(model: Path, home: Path, token_count: int, restarts: int) -> None:
    """Prints how soon a prompt from before a restart is answered."""
    prompt = prompt_of(token_count, 0)
    answers = []
    for _ in range(restarts + 1):
        with (
            served(model, home, token_count * 2) as server,
            httpx2.Client(timeout=None, trust_env=False) as client,
        ):
            client.get(f"{server.url}/models").raise_for_status()  # connects
            answers.append(ask_server(client, server.url, prompt, 8))
    first, *later = answers
    print(f"a prompt of about {token_count:,} tokens, new: first token after {first.first_seconds:.2f} s")
    print(
        f"after a restart: {', '.join(f'{each.first_seconds:.3f}' for each in later)} s,"
        f" {later[-1].reused_tokens:,} tokens reused,"
        f" the same answer: {all(one.text == other.text for one, other in pairwise(answers))}"
    )


def main() -> None:
    """Measures and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model file")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--tokens", type=int, default=512, help="about how many tokens the prompts of pairs have")
    parser.add_argument("--long-tokens", type=int, default=8000, help="about how many tokens the old prompt has")
    parser.add_argument("--restarts", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        asyncio.run(measure_pairs(options.model.resolve(), Path(home), options.pairs, options.tokens))
        if options.restarts:
            measure_restarts(options.model.resolve(), Path(home), options.long_tokens, options.restarts)


if __name__ == "__main__":
    main()
