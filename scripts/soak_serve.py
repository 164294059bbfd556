"""Uses a real `tui-llama serve` for a while as several hurried programs would, and says what went wrong.

python -m scripts.soak_serve --model MODEL.gguf [--seconds 60] [--clients 8] [--kill-every 15]

The clients ask for all kinds of answers, read them to their ends or go away in the middle, and the engine's process is
killed now and then. Every answer is checked: its status, the order of a stream's chunks, its counts. A request that
overlaps a kill may fail by it. Linux only: figures of processes come from /proc. Exit status: 0 if nothing is wrong.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2

from tui_llama import paths

_READY: Final = re.compile(rb"Serving .+ at (http://127\.0\.0\.1:\d+)/v1 ")
_QUESTIONS: Final = ("Say hi.", "Count to twenty.", "Name three rivers and a hill.", "What is a llama? " * 40)
_END_SECONDS: Final = 5.0
Asking = Callable[["Soak", random.Random], Awaitable[None]]


class WrongAnswerError(Exception):
    """An answer that breaks the protocol."""


def _check(condition: object, words: str) -> None:
    if not condition:
        raise WrongAnswerError(words)


@dataclass
class Soak:
    """A server under use.

    Attributes:
        process_id: That of the server.
        http: The clients' connections.
        counts: How often what was done.
        complaints: What went wrong.
        kills: When the engine was killed.
    """

    process_id: int
    http: httpx2.AsyncClient
    counts: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)

    async def use(self, chance: random.Random, end: float) -> None:
        """Asks one thing after the other until `end`."""
        while time.monotonic() < end:
            kind = chance.choice(_KINDS)
            begun_at = time.monotonic()
            try:
                await kind(self, chance)
            except (WrongAnswerError, httpx2.HTTPError, LookupError, TypeError, ValueError) as error:
                if any(begun_at - 1 < kill for kill in self.kills):
                    self.counts["failed by a kill"] += 1
                else:
                    self.complaints.append(f"{kind.__name__}: {type(error).__name__}: {error}")
            else:
                self.counts[kind.__name__.strip("_")] += 1

    async def kill_sometimes(self, every_seconds: float, end: float) -> None:
        """Kills the engine's process again and again, but not near the end."""
        while time.monotonic() + every_seconds < end:
            await asyncio.sleep(every_seconds)
            for engine in children_of(self.process_id):
                self.kills.append(time.monotonic())
                with suppress(ProcessLookupError):
                    os.kill(engine, signal.SIGKILL)

    async def post(self, path: str, content: object) -> Any:
        """Returns the JSON of an answer that must be a success."""
        answer = await self.http.post(path, json=content)
        _check(answer.status_code == 200, f"{path} {answer.status_code}: {answer.text[:200]}")
        return answer.json()


def _chat(chance: random.Random, **more: object) -> dict[str, object]:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": chance.choice(_QUESTIONS)}]
    return {"model": "any", "messages": messages, "max_tokens": chance.randrange(1, 24), **more}


async def _whole_chat(soak: Soak, chance: random.Random) -> None:
    answer = await soak.post("/v1/chat/completions", _chat(chance))
    _check(answer["choices"][0]["finish_reason"] in ("stop", "length"), "finish_reason")
    _check_usage(answer["usage"])


async def _streamed_chat(soak: Soak, chance: random.Random) -> None:
    asked = _chat(chance, stream=True, stream_options={"include_usage": True})
    await _read_stream(soak, "/v1/chat/completions", asked)


async def _whole_text(soak: Soak, chance: random.Random) -> None:
    answer = await soak.post("/v1/completions", {"prompt": chance.choice(_QUESTIONS), "max_tokens": 5, "logprobs": 2})
    choice, generated_tokens = answer["choices"][0], answer["usage"]["completion_tokens"]
    told_tokens = len(choice["logprobs"]["tokens"]) if choice["logprobs"] else 0
    # The token that ends an answer is generated, and no part of its text.
    has_end = choice["finish_reason"] == "stop"
    _check(told_tokens == generated_tokens - has_end, f"{told_tokens} log-probabilities of {generated_tokens} tokens")


async def _streamed_text(soak: Soak, chance: random.Random) -> None:
    asked = {"prompt": chance.choice(_QUESTIONS), "max_tokens": 9, "stream": True}
    await _read_stream(soak, "/v1/completions", {**asked, "stream_options": {"include_usage": True}})


async def _left_stream(soak: Soak, chance: random.Random) -> None:
    asked = _chat(chance, stream=True, max_tokens=400)
    async with soak.http.stream("POST", "/v1/chat/completions", json=asked) as answer:
        left = chance.randrange(6)
        async for _line in answer.aiter_lines():
            left -= 1
            if left < 0:
                return  # which closes the connection


async def _left_wait(soak: Soak, chance: random.Random) -> None:
    with suppress(httpx2.TimeoutException):
        await soak.http.post("/v1/chat/completions", json=_chat(chance, max_tokens=400), timeout=chance.random())


async def _tokens(soak: Soak, chance: random.Random) -> None:
    text = chance.choice(_QUESTIONS)
    tokens = (await soak.post("/tokenize", {"content": text}))["tokens"]
    back = (await soak.post("/detokenize", {"tokens": tokens}))["content"]
    _check(back == text, f"tokens of {text[:20]!r} are {back[:20]!r}")


async def _lists(soak: Soak, _chance: random.Random) -> None:
    for path in ("/health", "/v1/models", "/metrics"):
        answer = await soak.http.get(path)
        is_lost = path == "/health" and answer.status_code == 503  # the engine was killed and is loaded again
        _check(answer.status_code == 200 or is_lost, f"{path} {answer.status_code}")


async def _refused(soak: Soak, chance: random.Random) -> None:
    wrong = chance.choice(({}, {"messages": 5}, _chat(chance, temperature=-1), _chat(chance, n=3)))
    answer = await soak.http.post("/v1/chat/completions", json=wrong)
    _check(answer.status_code == 400, f"{answer.status_code} for {wrong}")
    _check(set(answer.json()["error"]) >= {"message", "type", "code", "param"}, "shape of the error")


_KINDS: Final[tuple[Asking, ...]] = (
    *(_whole_chat, _streamed_chat, _streamed_chat, _whole_text, _streamed_text),
    *(_left_stream, _left_wait, _tokens, _lists, _refused),
)


async def _read_stream(soak: Soak, path: str, asked: object) -> None:
    finishes, usage, is_done = 0, None, False
    async with soak.http.stream("POST", path, json=asked) as answer:
        _check(answer.status_code == 200, f"{path} {answer.status_code}")
        async for line in answer.aiter_lines():
            if not line or line.startswith(":"):
                continue
            _check(line.startswith("data: ") and not is_done, f"a line {line[:80]!r}")
            if line == "data: [DONE]":
                is_done = True
                continue
            chunk = json.loads(line.removeprefix("data: "))
            _check("error" not in chunk, f"an error in the stream: {line[:200]}")
            finishes += sum(choice["finish_reason"] is not None for choice in chunk["choices"])
            usage = chunk.get("usage") or usage
    _check(is_done and finishes == 1, f"{finishes} finish reasons, done: {is_done}")
    _check_usage(usage)


def _check_usage(usage: Any) -> None:
    _check(usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"], "usage does not add up")
    _check(usage["prompt_tokens_details"]["cached_tokens"] < usage["prompt_tokens"], "more cached than there is")


def children_of(process_id: int) -> list[int]:
    """Returns the ids of a process's children."""
    return [int(child) for child in Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()]


def figures_of(process_id: int) -> dict[str, int]:
    """Returns what a process holds: open files, threads and MiB of memory."""
    status = Path(f"/proc/{process_id}/status").read_text()
    values = {name: int(re.findall(rf"^{name}:\s+(\d+)", status, re.MULTILINE)[0]) for name in ("Threads", "VmRSS")}
    files = len(list(Path(f"/proc/{process_id}/fd").iterdir()))
    return {"open files": files, "threads": values["Threads"], "MiB": values["VmRSS"] >> 10}


@asynccontextmanager
async def _served(model: str) -> AsyncIterator[Soak]:
    command = (sys.executable, "-m", "tui_llama", "serve", "-m", model, "--port", "0", "--any-model")
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    try:
        while (ready := _READY.match(line := await process.stderr.readline())) is None:
            if not line:
                raise SystemExit("the server did not begin")
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=4)
        async with httpx2.AsyncClient(base_url=ready[1].decode(), trust_env=False, timeout=120, limits=limits) as http:
            yield Soak(process.pid, http)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        begun_at = time.monotonic()
        status = await process.wait()
        print(f"ended with status {status} after {time.monotonic() - begun_at:.2f} s")


async def _soak(options: argparse.Namespace) -> list[str]:
    async with _served(options.model) as soak:
        await asyncio.gather(*(kind(soak, random.Random(0)) for kind in _KINDS))
        before = figures_of(soak.process_id)
        end = time.monotonic() + options.seconds
        uses = (soak.use(random.Random(seed), end) for seed in range(options.clients))
        await asyncio.gather(*uses, soak.kill_sometimes(options.kill_every, end))
        await asyncio.sleep(_END_SECONDS)
        after, engines = figures_of(soak.process_id), children_of(soak.process_id)
        waiting = (await soak.http.get("/health")).headers["x-queue-length"]
    print(f"{sum(soak.counts.values())} requests, {len(soak.kills)} kills: {dict(soak.counts)}")
    print(f"the server before and after: {before} {after}; engines at the end: {len(engines)}; waiting: {waiting}")
    return soak.complaints + ["somebody waits"] * (waiting != "0") + ["not one engine"] * (len(engines) != 1)


def main() -> None:
    """Uses a server and prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m scripts.soak_serve", description=__doc__.partition("\n")[0])
    parser.add_argument("--model", required=True, help="a GGUF file, such as the starter")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--kill-every", type=float, default=15.0, help="seconds between kills of the engine")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ[paths.KERNEL_CACHE_VARIABLE] = str(paths.kernel_cache_folder())
        os.environ[paths.HOME_VARIABLE] = home
        complaints = asyncio.run(_soak(options))
        log = paths.log_file()
        if log.exists():
            complaints += re.findall(r"^Traceback.*", log.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    print(*complaints[:50], f"{len(complaints)} complaints", sep="\n")
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
