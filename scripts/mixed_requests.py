"""Sends many requests of all kinds to a real `tui-llama serve` with the `openai` library, and counts what goes wrong.

    python -m scripts.mixed_requests MODEL.gguf [--requests 1000]

Chats and completions, streamed and whole, with log-probabilities, tokens, lists, and some that the server must refuse,
one after the other. In the end the server must still give its first answer, letter for letter, and must hold no more
memory, files and threads than before. `scripts.soak_serve` has clients that come at once and leave early. Exit status:
0 if nothing is wrong.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

import httpx2
import openai

from benchmarks.serve import Served, prompt_of, served

_FIRST = {"messages": [{"role": "user", "content": "Name three animals."}], "temperature": 0, "max_tokens": 24}


class Worker:
    """Sends requests to one server, and counts what came of them.

    Attributes:
        outcomes: How often each kind of request ended in which way.
        errors: What was not as it must be.
    """

    def __init__(self, url: str, model: str) -> None:
        self._url, self._model = url, model
        self._client = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=300)
        self.outcomes: Counter[str] = Counter()
        self.errors: list[str] = []

    async def first_answer(self) -> str:
        """Returns the answer to a question that is always the same."""
        answer = await self._client.chat.completions.create(model=self._model, **_FIRST)  # type: ignore[call-overload]
        return str(answer.choices[0].message.content)

    async def mixed(self, random: Random) -> None:
        """Sends one request of any kind."""
        kinds: list[Callable[[Random], Awaitable[None]]] = [
            self._chat, self._streamed_chat, self._completion, self._streamed_completion, self._tokens, self._list,
            self._refused,
        ]  # fmt: skip
        kind = random.choice(kinds)
        try:
            await kind(random)
        except Exception as error:
            self.errors.append(f"{kind.__name__}: {type(error).__name__}: {error}")
        self.outcomes[kind.__name__.strip("_")] += 1

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()

    async def _chat(self, random: Random) -> None:
        answer = await self._client.chat.completions.create(
            model=self._model, messages=_question(random), max_tokens=8, logprobs=True, top_logprobs=3
        )
        probabilities = answer.choices[0].logprobs
        assert answer.usage is not None and answer.usage.completion_tokens <= 8
        assert probabilities is not None and probabilities.content is not None
        assert answer.choices[0].finish_reason in ("stop", "length")

    async def _streamed_chat(self, random: Random) -> None:
        stream = await self._client.chat.completions.create(
            model=self._model, messages=_question(random), max_tokens=8, stream=True,
            stream_options={"include_usage": True},
        )  # fmt: skip
        endings, usages = [], []
        async for chunk in stream:
            endings += [choice.finish_reason for choice in chunk.choices if choice.finish_reason]
            usages += [chunk.usage] if chunk.usage else []
        assert len(endings) == 1 and len(usages) == 1

    async def _completion(self, random: Random) -> None:
        answer = await self._client.completions.create(model=self._model, prompt=prompt_of(8, 1), max_tokens=8, seed=1)
        assert answer.choices[0].finish_reason in ("stop", "length")

    async def _streamed_completion(self, random: Random) -> None:
        stream = await self._client.completions.create(
            model=self._model, prompt=prompt_of(8, random.randrange(50)), max_tokens=8, stream=True
        )
        endings = [choice.finish_reason async for chunk in stream for choice in chunk.choices if choice.finish_reason]
        assert len(endings) == 1

    async def _tokens(self, random: Random) -> None:
        root = self._url.removesuffix("/v1")
        text = prompt_of(8, random.randrange(50))
        async with httpx2.AsyncClient(trust_env=False) as client:
            tokens = (await client.post(f"{root}/tokenize", json={"content": text})).json()["tokens"]
            content = (await client.post(f"{root}/detokenize", json={"tokens": tokens})).json()["content"]
        assert content == text

    async def _list(self, random: Random) -> None:
        models = [model.id async for model in await self._client.models.list()]
        assert models == [self._model]

    async def _refused(self, random: Random) -> None:
        wrong: dict[str, Any] = random.choice(
            [{"max_tokens": "many"}, {"n": 3}, {"temperature": -1}, {"stop": 7}, {"messages": []}, {"top_logprobs": 99}]
        )
        body: dict[str, Any] = {"messages": _question(random), **wrong}
        async with httpx2.AsyncClient(trust_env=False) as client:
            response = await client.post(f"{self._url}/chat/completions", json=body)
        assert response.status_code == 400, f"{wrong}: {response.status_code}"
        assert response.json()["error"]["message"]


def _question(random: Random) -> list[Any]:
    return [{"role": "user", "content": prompt_of(random.choice([4, 40]), random.randrange(1000))}]


def holdings(process_id: int) -> tuple[float, int, int]:
    """Returns the memory in MB, the files and the threads of a process and its children."""
    megabytes, files, threads = 0.0, 0, 0
    for folder in (Path(f"/proc/{process_id}"), *_children(process_id)):
        with contextlib.suppress(FileNotFoundError):
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
            megabytes += int(status["VmRSS"].split()[0]) / 1024
            threads += int(status["Threads"])
            files += len([*(folder / "fd").iterdir()])
    return megabytes, files, threads


def _children(process_id: int) -> list[Path]:
    names = Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()
    return [Path(f"/proc/{name}") for name in names]


async def work(server: Served, requests: int) -> bool:
    """Works the server, and prints what came of it; returns whether nothing was wrong."""
    listed = await openai.AsyncOpenAI(base_url=server.url, api_key="none").models.list()
    worker, random = Worker(server.url, listed.data[0].id), Random(7)
    first = await worker.first_answer()
    for _ in range(20):
        await worker.mixed(random)
    before, started = holdings(server.process_id), perf_counter()
    for _ in range(requests):
        await worker.mixed(random)
    print(f"{requests} mixed requests in {perf_counter() - started:.0f} s: {len(worker.errors)} errors")
    print(", ".join(f"{count} {name}" for name, count in worker.outcomes.most_common()))
    for error, count in Counter(worker.errors).most_common(10):
        print(f"  {count} × {error}")
    is_same = await worker.first_answer() == first
    await worker.close()
    print(f"the first answer once more, the same: {is_same}")
    for name, (megabytes, files, threads) in {"before": before, "after": holdings(server.process_id)}.items():
        print(f"{name}: {megabytes:.0f} MB, {files} files, {threads} threads")
    return is_same and not worker.errors


def main() -> None:
    """Sends the requests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model file")
    parser.add_argument("--requests", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, served(options.model.resolve(), Path(home), 4096) as server:
        is_well = asyncio.run(work(server, options.requests))
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
