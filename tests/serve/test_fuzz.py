"""A thousand hostile requests; `python -m scripts.fuzz_serve` sends a hundred thousand."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from tests.serve.fuzzing import complaint, fuzzed, status_of
from tests.serve.running_server import Running, running
from tui_llama import paths
from tui_llama.engine.requests import CompleteRequest, ReplyRequest
from tui_llama.engine.scripted import ScriptedEngine, Step, demo_reply
from tui_llama.serve.http.limits import Limits

REQUESTS = 1000
AT_ONCE = 8
IMPATIENT = Limits(head_seconds=0.3, body_seconds=0.3, keep_alive_seconds=0.0)
"""Requests that are not whole are given up soon; whether one just comes too late changes nothing for the test."""


def failures_of_the_loop() -> list[str]:
    """Returns a list to which every failure is added that comes out of a callback of the event loop."""
    failures: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(repr(context)))
    return failures


def brief(request: ReplyRequest | CompleteRequest) -> list[Step]:
    return demo_reply(request, "A short answer.")


async def test_no_request_gets_a_traceback_or_hangs_or_leaves_anything_behind(home_folder: Path) -> None:
    async with running(ScriptedEngine(replies=brief), limits=IMPATIENT) as server:
        before = asyncio.all_tasks()
        failures = failures_of_the_loop()
        seeds = iter(range(REQUESTS))
        statuses: set[int] = set()
        await asyncio.gather(*(_send(server, seeds, statuses) for _ in range(AT_ONCE)))
        await server.has_no_connections()

        assert (await server.ask("GET", "/health")).status == 200
        assert (server.queue.length, server.queue.is_taken) == (0, False)
        assert asyncio.all_tasks() <= before
    assert failures == []
    assert statuses >= {200, 400, 403, 404, 405}
    assert not paths.log_file().exists() or "Traceback" not in paths.log_file().read_text()


async def _send(server: Running, seeds: Iterator[int], statuses: set[int]) -> None:
    for seed in seeds:
        received = await server.send(fuzzed(seed))
        assert complaint(received) == "", f"seed {seed}: {received[:500]!r}"
        statuses.add(status_of(received))


def test_the_requests_are_the_same_every_time() -> None:
    assert fuzzed(7) == fuzzed(7) != fuzzed(8)


def test_the_judge_complains_of_what_is_wrong() -> None:
    assert complaint(b"HTTP/1.1 500 \r\n\r\n") == "status 500"
    assert complaint(b"HTTP/1.1 200 OK\r\n\r\nTraceback (most recent call last)") == "a traceback"
    assert complaint(b"hello") == "no answer in HTTP"
    assert complaint(b"HTTP/1.1 503 Service Unavailable\r\n\r\n") == complaint(b"") == ""
