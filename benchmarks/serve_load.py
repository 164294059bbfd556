"""Works a running `tui-llama serve` hard, and counts what goes wrong.

    python -m benchmarks.serve_load MODEL.gguf [--requests 1000] [--clients 8] [--seconds 60]

First one client sends mixed requests with the `openai` library: chats and completions, streamed and whole, tokens,
lists, and some that the server must refuse. Then several clients chat at once for a while; they stop reading in the
middle, close their connections and leave in the queue. In the end the server must still give its first answer, letter
for letter, and must hold no more memory, files and threads than before. Targets: no error, no growth.
"""

import argparse
import asyncio
import contextlib
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from time import monotonic, perf_counter
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

    async def leave_early(self, random: Random) -> None:
        """Begins a chat, and goes away at some moment: before the answer, in its middle or at its end."""
        body = {"messages": _question(random), "max_tokens": 64, "stream": True}
        pieces_wanted = random.choice([0, 1, 3, 10, 1000])
        patience_seconds = random.choice([0.01, 0.2, 1.0, 300.0])
        async with httpx2.AsyncClient(timeout=None, trust_env=False) as client:
            try:
                async with asyncio.timeout(patience_seconds):
                    async with client.stream("POST", f"{self._url}/chat/completions", json=body) as response:
                        if response.status_code not in (200, 429):
                            self.errors.append(f"status {response.status_code}")
                        pieces = 0
                        async for line in response.aiter_lines():
                            pieces += line.startswith("data:")
                            if "error" in line and '"error"' in line:
                                self.errors.append(line[:200])
                            if pieces > pieces_wanted:
                                self.outcomes["left in the middle"] += 1
                                return
                        self.outcomes["read to the end"] += 1
            except TimeoutError:
                self.outcomes["left while waiting"] += 1
            except httpx2.HTTPError as error:
                self.errors.append(f"{type(error).__name__}: {error}")

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


async def work(server: Served, requests: int, clients: int, seconds: float) -> None:
    """Works the server, and prints what came of it."""
    listed = await openai.AsyncOpenAI(base_url=server.url, api_key="none").models.list()
    model = listed.data[0].id
    worker, random = Worker(server.url, model), Random(7)
    first = await worker.first_answer()
    for _ in range(20):
        await worker.mixed(random)
    before = holdings(server.process_id)
    started = perf_counter()
    for _ in range(requests):
        await worker.mixed(random)
    print(f"{requests} mixed requests in {perf_counter() - started:.0f} s: {len(worker.errors)} errors")
    middle = holdings(server.process_id)
    until = monotonic() + seconds

    async def client(number: int) -> None:
        own = Random(number)
        while monotonic() < until:
            await worker.leave_early(own)

    await asyncio.gather(*map(client, range(clients)))
    same = await worker.first_answer() == first
    await worker.close()
    await asyncio.sleep(2)
    after = holdings(server.process_id)
    print(f"{clients} clients for {seconds:.0f} s that leave early: {len(worker.errors)} errors in all")
    print(", ".join(f"{count} {name}" for name, count in worker.outcomes.most_common()))
    for error, count in Counter(worker.errors).most_common(10):
        print(f"  {count} × {error}")
    print(f"the first answer once more, the same: {same}")
    for name, (megabytes, files, threads) in {"before": before, "between": middle, "after": after}.items():
        print(f"{name}: {megabytes:.0f} MB, {files} files, {threads} threads")


def main() -> None:
    """Measures and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model file")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, served(options.model.resolve(), Path(home), 4096) as server:
        asyncio.run(work(server, options.requests, options.clients, options.seconds))


if __name__ == "__main__":
    main()
