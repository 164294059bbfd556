"""Sends hostile requests to a server of ours and says what it answered.

python -m scripts.fuzz_serve [--requests 100000] [--first-seed 0] [--at-once 16]

The server runs in this process, with an engine that replays a script. The requests are made from seeds, so a complaint
can be repeated by its seed. Exit status: 0 if nothing is wrong, else 1.
"""

import argparse
import asyncio
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

from tests.serve.fuzzing import complaint, fuzzed, status_of
from tests.serve.running_server import Running, running
from tests.serve.test_fuzz import brief, failures_of_the_loop
from tui_llama import paths
from tui_llama.engine.scripted import ScriptedEngine
from tui_llama.serve.http.limits import Limits

_IMPATIENT = Limits(head_seconds=0.2, body_seconds=0.2, keep_alive_seconds=0.0)
_LONGEST_SECONDS = 60.0


async def _send(server: Running, seeds: Iterator[int], counts: Counter[int], complaints: list[str]) -> None:
    for seed in seeds:
        try:
            async with asyncio.timeout(_LONGEST_SECONDS):
                received = await server.send(fuzzed(seed))
        except TimeoutError:
            complaints.append(f"seed {seed}: no answer within {_LONGEST_SECONDS:.0f} s")
            continue
        counts[status_of(received)] += 1
        if wrong := complaint(received):
            complaints.append(f"seed {seed}: {wrong}")


async def _fuzz(first_seed: int, requests: int, at_once: int) -> list[str]:
    counts: Counter[int] = Counter()
    complaints = failures_of_the_loop()
    async with running(ScriptedEngine(replies=brief), limits=_IMPATIENT) as server:
        seeds = iter(range(first_seed, first_seed + requests))
        begun_at, tasks, files = time.monotonic(), len(asyncio.all_tasks()), _open_files()
        await asyncio.gather(*(_send(server, seeds, counts, complaints) for _ in range(at_once)))
        await server.has_no_connections()
        seconds = time.monotonic() - begun_at
        await asyncio.sleep(0)  # in which the client's own connections are closed
        left = f"{len(asyncio.all_tasks()) - tasks:+} tasks, {_open_files() - files:+} open files"
        health = (await server.ask("GET", "/health")).status
        if health != HTTPStatus.OK:
            complaints.append(f"status {health} for /health at the end")
        if server.queue.is_taken or server.queue.length:
            complaints.append("the engine is not free at the end")
    log = paths.log_file()
    if log.exists() and "Traceback" in log.read_text(encoding="utf-8", errors="replace"):
        complaints.append(f"tracebacks in the log:\n{log.read_text(encoding='utf-8', errors='replace')[-3000:]}")
    print(f"{requests:,} requests in {seconds:.0f} s ({requests / seconds:.0f} a second); left at the end: {left}")
    for status, count in sorted(counts.items()):
        print(f"{status or 'closed'}: {count:,}")
    print(f"largest memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")
    return complaints


def _open_files() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def main() -> None:
    """Sends the requests and prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m scripts.fuzz_serve", description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=16, help="connections at a time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ[paths.HOME_VARIABLE] = home
        complaints = asyncio.run(_fuzz(options.first_seed, options.requests, options.at_once))
    print(*complaints[:50], f"{len(complaints)} complaints", sep="\n")
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
