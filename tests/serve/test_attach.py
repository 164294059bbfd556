"""The socket at which screens come: whose it is, who may come, and which model they get."""

import asyncio
import os
import signal
import socket
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.attached_screens import Serving, events_of, last_reason, loads_here, say, serving
from tui_llama import paths
from tui_llama.chat import StopReason
from tui_llama.engine.events import Failed, Notice, TextPiece
from tui_llama.engine.process.attached import AttachedEngine
from tui_llama.engine.process.sockets import address, socket_path
from tui_llama.engine.requests import LoadRequest
from tui_llama.engine.scripted import ScriptedEngine, demo_model
from tui_llama.errors import EngineLostError
from tui_llama.serve.attach import attached_screens
from tui_llama.serve.queue import EngineQueue


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"weights")
    return path


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"context_size": 4096}, "8192 tokens, not 4096"),
        ({"cache_type": "q8_0"}, "f16, not q8_0"),
        ({"batch_tokens": 64}, "512 tokens at once, not 64"),
        ({"prompt_cache_folder": "elsewhere"}, "another folder"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
async def test_a_screen_that_wants_the_model_otherwise_loads_it(
    model_file: Path, fields: dict[str, Any], reason: str
) -> None:
    async with serving(model_file) as server, server.screen(**fields):
        assert isinstance(server.loaded[0], Notice)
        assert reason in server.loaded[0].text
        assert loads_here(server.loaded)


@pytest.mark.parametrize("fields", [{"context_size": 8192}, {"context_size": 0, "threads": 3, "batch_threads": 2}])
async def test_a_screen_that_wants_what_is_loaded_attaches(model_file: Path, fields: dict[str, Any]) -> None:
    async with serving(model_file) as server, server.screen(**fields) as screen:
        assert screen.is_attached


async def test_a_model_file_that_has_changed_is_loaded_anew(model_file: Path) -> None:
    async with serving(model_file) as server:
        model_file.write_bytes(b"other weights")
        async with server.screen():
            assert isinstance(server.loaded[0], Notice)
            assert "has changed" in server.loaded[0].text
            assert loads_here(server.loaded)


async def test_a_screen_that_asks_another_servers_socket_is_refused(model_file: Path, tmp_path: Path) -> None:
    async with serving(model_file) as server:
        engine = AttachedEngine(socket_path(server.folder, str(model_file)))
        events = [event async for event in engine.load(LoadRequest(str(tmp_path / "other.gguf")))]
        await engine.close()

    assert events == [Failed(None, "it has loaded another file")]


async def test_a_screen_of_another_user_is_sent_away(model_file: Path) -> None:
    async with serving(model_file, user_of=lambda _connection: os.geteuid() + 1) as server, server.screen():
        assert loads_here(server.loaded)

    assert not server.engine.reply_requests
    assert "another user" in paths.log_file().read_text()


async def test_the_folder_and_the_socket_are_the_users_alone(model_file: Path) -> None:
    async with serving(model_file) as server:
        path = socket_path(server.folder, str(model_file))

        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
        assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
    assert not path.exists()


async def test_a_folder_that_others_may_enter_gets_no_socket(model_file: Path) -> None:
    folder = model_file.parent / "run"
    folder.mkdir(mode=0o755)
    async with attached_screens(
        EngineQueue(ScriptedEngine()), lambda: demo_model(""), LoadRequest(str(model_file)), folder
    ) as screens:
        assert "other users may enter" in screens.refusal

    assert not list(folder.iterdir())


async def test_without_a_place_for_the_socket_the_server_runs_all_the_same(model_file: Path) -> None:
    place = model_file / "run"  # below a file, where no folder can be
    async with attached_screens(
        EngineQueue(ScriptedEngine()), lambda: demo_model(""), LoadRequest(str(model_file)), place
    ) as screens:
        assert "No full-screen chat can use" in screens.refusal


async def test_the_socket_of_a_living_server_is_not_taken(model_file: Path) -> None:
    async with serving(model_file) as server:
        second = Serving(model_file)
        assert "another server has loaded the same file" in (await second.start()).refusal
        await second.stop()

        async with server.screen() as screen:
            assert screen.is_attached
            assert last_reason(await events_of(screen, say())) is StopReason.END_OF_GENERATION


async def test_two_servers_with_two_models_are_both_used(model_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.touch()
    async with serving(model_file) as one, serving(other) as two, one.screen() as first, two.screen() as second:
        assert (first.is_attached, second.is_attached) == (True, True)


async def test_the_socket_of_a_dead_server_is_taken_over(model_file: Path) -> None:
    folder = paths.make_private_folder(model_file.parent / "run")
    with socket.socket(socket.AF_UNIX) as left_over, address(socket_path(folder, str(model_file))) as place:
        left_over.bind(place)

    async with serving(model_file) as server, server.screen() as screen:
        assert screen.is_attached


KILLED = """
import asyncio, sys
from pathlib import Path
from tests.fakes.attached_screens import gated, serving
from tui_llama.engine.events import TextPiece

async def main():
    engine, _ = gated(TextPiece(0, "half", (1,)))
    async with serving(Path(sys.argv[1]), engine):
        print("serving", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_server_that_is_killed_in_mid_answer_is_a_lost_engine_and_its_place_is_free(model_file: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(model_file), stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"serving\n"
    next_server = Serving(model_file)

    async with next_server.screen() as screen:
        assert screen.is_attached
        with pytest.raises(EngineLostError, match="has ended"):
            async for event in screen.reply(say()):
                assert event == TextPiece(1, "half", (1,))
                process.send_signal(signal.SIGKILL)
        await process.wait()
        assert not screen.is_alive

    assert not (await next_server.start()).refusal
    async with next_server.screen() as screen:
        assert screen.is_attached
    await next_server.stop()


async def test_nothing_is_left_of_a_server_and_its_screens(model_file: Path) -> None:
    tasks, open_files = asyncio.all_tasks(), _open_files()
    async with serving(model_file) as server:
        for _ in range(3):
            async with server.screen() as screen:
                await events_of(screen, say())
        async with server.screen():
            await server.stop()

    assert asyncio.all_tasks() == tasks
    assert _open_files() == open_files
    assert [path.suffix for path in server.folder.iterdir()] == [".lock"]


def _open_files() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())
