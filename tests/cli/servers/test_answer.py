"""`ask` with a server: what it sends, what it prints, and how it ends."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator

import pytest
from click.testing import CliRunner, Result

from tests.fakes.headless_program import ROOT
from tests.fakes.openai_dialects import LLAMA_SERVER, MODEL, UNAUTHORIZED, models
from tests.fakes.openai_server import MODELS, Cut, FakeServer, response, stream
from tests.fakes.openai_streams import DONE, ROLE, chunk, llama_server, texts
from tests.patience import HANG_SECONDS
from tui_llama import paths
from tui_llama.cli.main import command_line
from tui_llama.engine.scripted import Gate


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with LLAMA_SERVER.server() as server:
        yield server


async def run(*arguments: str, environment: dict[str, str] | None = None) -> Result:
    """Runs the command line in a thread, so that the server can answer."""
    return await asyncio.to_thread(CliRunner().invoke, command_line, arguments, env=environment)


async def ask(server: FakeServer, *arguments: str) -> Result:
    return await run("ask", "Do", "llamas", "hum?", "--server", server.url, *arguments)


def write_settings(content: str) -> None:
    file = paths.settings_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, encoding="utf-8")


async def test_the_answer_alone_goes_to_standard_output(server: FakeServer) -> None:
    server.answer(stream(*llama_server(["Llamas", " hum.\n", "🦙"])))
    result = await ask(server)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "Llamas hum.\n🦙", "")


async def test_a_server_is_told_what_was_set_and_no_more(server: FakeServer) -> None:
    write_settings('system_prompt = "Be brief."\n[sampling]\ntop_k = 40\n')
    server.answer(stream(*llama_server()))

    await ask(server, "-m", MODEL, "--temp", "0.5", "-n", "9", "--stop", "END")

    body = server.last.json
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Do llamas hum?"},
    ]
    assert (body["model"], body["temperature"], body["top_k"], body["stop"]) == (MODEL, 0.5, 40, ["END"])
    assert 9 in (body.get("max_tokens"), body.get("max_completion_tokens"))
    assert not {"top_p", "min_p", "seed", "repeat_penalty"} & set(body)
    assert server.last.header("authorization") is None


async def test_a_declared_server_gets_its_key(server: FakeServer) -> None:
    write_settings(f'[servers.home]\nurl = "{server.url}"\nkey_variable = "HOME_KEY"\n')
    server.answer(stream(*llama_server()), stream(*llama_server()))

    for words in ("home", server.url):
        result = await run("ask", "hi", "--server", words, environment={"HOME_KEY": "sk-very-secret"})
        assert result.exit_code == 0
        assert server.last.header("authorization") == "Bearer sk-very-secret"
        assert "secret" not in result.output


async def test_a_key_that_is_not_there_is_told_before_anything_is_sent(server: FakeServer) -> None:
    write_settings(f'[servers.home]\nurl = "{server.url}"\nkey_variable = "HOME_KEY"\n')
    result = await run("ask", "hi", "--server", "home", environment={"HOME_KEY": None})  # type: ignore[dict-item]
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: the variable HOME_KEY") and "hint: " in result.stderr
    assert server.requests == []


async def test_a_server_that_is_not_there_is_told(server: FakeServer) -> None:
    url = server.url
    await server.close()
    result = await run("ask", "hi", "--server", url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ") and "\nhint: " in result.stderr


async def test_a_key_that_is_refused_is_told(server: FakeServer) -> None:
    server.answer(UNAUTHORIZED)
    result = await ask(server)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "key" in result.stderr


async def test_a_stream_that_is_cut_leaves_what_came_and_is_told(server: FakeServer) -> None:
    server.answer(stream(ROLE, *texts(["Llamas", " hum"]), Cut.CLOSE))
    result = await ask(server)
    assert (result.exit_code, result.stdout) == (1, "Llamas hum")
    assert result.stderr.startswith("error: ")


async def test_an_answer_that_is_as_long_as_it_may_be_is_printed_without_a_word(server: FakeServer) -> None:
    server.answer(stream(ROLE, *texts(["Llamas"]), chunk({}, "length"), DONE))
    result = await ask(server, "-n", "1")
    assert (result.exit_code, result.stdout) == (0, "Llamas")


async def test_ctrl_c_ends_with_status_130_and_closes_the_connection(server: FakeServer) -> None:
    server.answer(stream(ROLE, Gate()))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tui_llama", "ask", "hi", "--server", server.url),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    answer = await server.next_request()

    process.send_signal(signal.SIGINT)

    assert await answer.was_left()
    output, errors = await asyncio.wait_for(process.communicate(), HANG_SECONDS)
    assert (process.returncode, output, errors) == (130, b"", b"")


# --- servers check


async def test_check_lists_the_models_of_a_server(server: FakeServer) -> None:
    result = await run("servers", "check", server.url)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{MODEL}  2,048 tokens\n", "")


async def test_check_shows_nothing_that_a_terminal_would_obey(server: FakeServer) -> None:
    server.serve("GET", MODELS, models("x", "\x1b[31mred"))
    result = await run("servers", "check", server.url)
    assert result.exit_code == 0 and "\x1b" not in result.output and "red" in result.output


async def test_check_sends_the_key_of_a_declared_server(server: FakeServer) -> None:
    write_settings(f'[servers.home]\nurl = "{server.url}"\nkey_command = "echo sk-very-secret"\n')
    result = await run("servers", "check", "home")
    assert result.exit_code == 0 and "secret" not in result.output
    assert server.requests[-1].header("authorization") == "Bearer sk-very-secret"


async def test_check_says_that_there_is_no_model(server: FakeServer) -> None:
    server.serve("GET", MODELS, response({"object": "list", "data": []}))
    result = await run("servers", "check", server.url)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "offers no model" in result.stderr


async def test_check_tells_why_a_server_cannot_be_asked(server: FakeServer) -> None:
    url = server.url
    await server.close()
    result = await run("servers", "check", url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ") and "\nhint: " in result.stderr
