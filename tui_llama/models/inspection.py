"""Looks into model files without loading them, in a process of its own, because the screen's does without NumPy."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from tui_llama.engine.descriptions import ModelFacts
from tui_llama.system.child_process import child_command

_CHILD: Final = "tui_llama.models.inspection_process"
_LONGEST_LINE_BYTES: Final = 1 << 20


async def inspect_beside(paths: Iterable[Path]) -> AsyncGenerator[ModelFacts, None]:
    """Yields the facts of each file, in order, as soon as they are known; ends early where the child ends early."""
    process = await asyncio.create_subprocess_exec(
        *child_command(_CHILD),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        limit=_LONGEST_LINE_BYTES,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        with suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(b"".join(bytes(path) + b"\0" for path in paths))
            await process.stdin.drain()
            process.stdin.close()
        async for line in process.stdout:
            yield msgspec.json.decode(line, type=ModelFacts)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
