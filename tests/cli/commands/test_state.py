"""Sessions of llama.cpp become chats and chats become sessions, on the command line."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.fakes.tiny_model import make_tiny_model
from tui_llama import paths
from tui_llama.chat import ChatMessage, Role, StopReason, Usage
from tui_llama.chats.chat_prompt_cache import with_prompt_cache
from tui_llama.chats.find_chat import find_chat
from tui_llama.chats.store import Store
from tui_llama.cli.main import command_line
from tui_llama.engine.events import Finished, ModelLoaded, PromptEncoded
from tui_llama.engine.local import LocalEngine
from tui_llama.engine.protocol import ReplyEvent
from tui_llama.engine.requests import CompleteRequest, LoadRequest, ReplyRequest
from tui_llama.sampling.settings import SamplingSettings

TEXT = "once upon a time there was a little girl who lived in a house near the forest"
PROMPT = "Once upon a time, there was a little girl"
GOLDEN = [f"stories260K-v{version}-fa-{attention}" for version in (9, 10) for attention in ("off", "on")]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command_line, arguments)


def imported(session: Path, model: Path, *options: str) -> str:
    """The id of the chat that a session became."""
    result = run("state", "import", str(session), "-m", str(model), *options)
    assert result.exit_code == 0, result.stderr
    return result.stdout.strip()


def segments() -> list[Path]:
    return list(paths.prompt_cache_folder().rglob("*.tlk"))


def chats() -> list[str]:
    if not paths.database_file().exists():
        return []
    with Store(paths.database_file()) as store:
        return [chat.title for chat in store.list_chats()]


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture
def session(tiny_model: Path, tmp_path: Path) -> Path:
    """A session of a text."""
    path = tmp_path / "story.bin"
    result = run("state", "export", str(path), "-m", str(tiny_model), "--text", TEXT)
    assert result.exit_code == 0, result.stderr
    return path


@pytest.fixture
def finished(monkeypatch: pytest.MonkeyPatch) -> list[Usage]:
    """What the replies of all engines have cost."""
    usages: list[Usage] = []
    reply = LocalEngine.reply

    def noting(
        self: LocalEngine, request: ReplyRequest | CompleteRequest, should_stop: Callable[[], bool]
    ) -> Iterator[ReplyEvent]:
        for event in reply(self, request, should_stop):
            if isinstance(event, Finished):
                usages.append(event.usage)
            yield event

    monkeypatch.setattr(LocalEngine, "reply", noting)
    return usages


# --- there and back -------------------------------------------------------------------------------------------------


def test_an_import_is_a_chat_whose_answer_is_the_sessions_text(tiny_model: Path, session: Path) -> None:
    result = run("state", "import", str(session), "-m", str(tiny_model))
    chat_id = result.stdout.removesuffix("\n")
    assert "tui-llama complete --continue " + chat_id[:8] in result.stderr
    with Store(paths.database_file()) as store:
        chat = store.chat(chat_id)
        question, answer = store.messages(chat_id)
    assert (chat.title, chat.model_path) == ("story.bin", str(tiny_model))
    assert (question.role, question.text) == (Role.USER, "Session of llama.cpp: story.bin")
    assert (answer.role, answer.text) == (Role.ASSISTANT, TEXT)


def test_an_import_can_be_titled(tiny_model: Path, session: Path) -> None:
    imported(session, tiny_model, "--title", "A story")
    assert chats() == ["A story"]


@pytest.mark.parametrize("options", [(), ("--session-version", "9"), ("--no-flash-attention",)])
def test_a_text_that_goes_out_and_comes_in_goes_on_as_if_it_had_never_left(
    tiny_model: Path, tmp_path: Path, finished: list[Usage], options: tuple[str, ...]
) -> None:
    answering = ("-n", "12", "--temp", "0")
    expected = run("complete", TEXT, "-m", str(tiny_model), *answering).stdout
    session = tmp_path / "story.bin"
    run("state", "export", str(session), "-m", str(tiny_model), "--text", TEXT, *options)
    chat_id = imported(session, tiny_model)
    assert run("complete", "--continue", chat_id[:8], *answering).stdout == expected
    assert finished[-1].reused_tokens == len(find_chat(chat_id).ledger.newest_ids) - 1
    assert finished[-1].read_tokens == 1


def test_a_text_is_put_behind_the_chat_and_the_chat_stays_as_it_is(
    tiny_model: Path, session: Path, finished: list[Usage]
) -> None:
    chat_id = imported(session, tiny_model)
    before, stored = find_chat(chat_id), segments()
    answering = ("-n", "12", "--temp", "0")
    expected = run("complete", TEXT + " and she", "-m", str(tiny_model), *answering).stdout
    assert run("complete", "--continue", chat_id, *answering, " and she").stdout == expected
    assert finished[-1].reused_tokens >= len(before.ledger.newest_ids) - 1
    assert (find_chat(chat_id), segments()) == (before, stored)


def test_a_chat_goes_out_from_what_is_stored(tiny_model: Path, session: Path, tmp_path: Path) -> None:
    chat_id, again = imported(session, tiny_model), tmp_path / "again.bin"
    result = run("state", "export", str(again), "--chat", chat_id)
    count = len(find_chat(chat_id).ledger.newest_ids)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        f"{again}: session of version 10, with flash attention, {count} tokens, "
        f"keys and values of {count - 1} ({count - 1} were stored)\n"
    )
    assert again.read_bytes() == session.read_bytes()


@pytest.mark.parametrize(
    ("options", "version", "transposed"),
    [
        ((), 10, False),
        (("--no-flash-attention",), 10, True),
        (("--session-version", "9"), 9, True),
        (("--session-version", "9", "--flash-attention"), 9, False),
    ],
)
def test_flash_attention_is_as_the_versions_have_it_unless_told(
    tiny_model: Path, tmp_path: Path, options: tuple[str, ...], version: int, transposed: bool
) -> None:
    result = run("state", "export", str(tmp_path / "out"), "-m", str(tiny_model), "--text", TEXT, *options)
    said = "without" if transposed else "with"
    assert f"session of version {version}, {said} flash attention" in result.stdout
    assert (tmp_path / "out").read_bytes()[4] == version


def next_turn(chat_id: str, tiny_model: Path) -> tuple[PromptEncoded, Usage]:
    """What the screen asks of the engine when the user writes: how much of the ledger is kept, and what it costs."""
    with Store(paths.database_file()) as store:
        system_prompt = store.chat(chat_id).system_prompt
        messages = [ChatMessage(message.role, message.text) for message in store.messages(chat_id)]
    if system_prompt:
        messages.insert(0, ChatMessage(Role.SYSTEM, system_prompt))
    engine = LocalEngine()
    folder = str(paths.prompt_cache_folder())
    loaded = engine.load(LoadRequest(str(tiny_model), threads=1, prompt_cache_folder=folder), lambda: False)
    assert isinstance(loaded, ModelLoaded)
    request = ReplyRequest(
        turn=1,
        messages=(*messages, ChatMessage(Role.USER, "And then?")),
        ledger=tuple(find_chat(chat_id).ledger.newest_ids),
        sampling=SamplingSettings(temperature=0),
        max_tokens=3,
        chat_id=chat_id,
    )
    events = list(engine.reply(request, lambda: False))
    engine.close()
    assert isinstance(events[0], PromptEncoded)
    assert isinstance(events[-1], Finished)
    return events[0], events[-1].usage


def test_a_text_goes_on_in_the_program_as_an_answer_that_is_read_anew(tiny_model: Path, session: Path) -> None:
    encoded, usage = next_turn(imported(session, tiny_model), tiny_model)
    assert encoded.kept_tokens <= 1  # the template puts other tokens before the text
    assert usage.reused_tokens <= 1


CONVERSATION = (
    "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\nthere"
    "<|im_end|>\n<|im_start|>user\nand then?<|im_end|>\n<|im_start|>assistant\nonce upon a time"
)


@pytest.mark.parametrize("end", ["", "<|im_end|>"])
def test_a_conversation_becomes_its_messages_and_goes_on_in_the_program_warm(
    tiny_model: Path, tmp_path: Path, end: str
) -> None:
    run("state", "export", str(tmp_path / "talk"), "-m", str(tiny_model), "--text", CONVERSATION + end)
    chat_id = imported(tmp_path / "talk", tiny_model)
    with Store(paths.database_file()) as store:
        chat, messages = store.chat(chat_id), store.messages(chat_id)
    assert chat.system_prompt == "Be brief."
    assert [message.text for message in messages] == ["hello", "there", "and then?", "once upon a time"]
    assert messages[-1].stop_reason is (StopReason.END_OF_GENERATION if end else StopReason.STOPPED)
    count = len(find_chat(chat_id).ledger.newest_ids)
    encoded, usage = next_turn(chat_id, tiny_model)
    assert encoded.kept_tokens == count
    assert usage.reused_tokens == count - 1  # the last has no keys and values in a session of version 10


# --- refused --------------------------------------------------------------------------------------------------------


def broken_sessions(good: Path, folder: Path) -> dict[str, Path]:
    content = good.read_bytes()
    end = 12 + 4 * int.from_bytes(content[8:12], "little")  # of the token ids
    files = {
        "empty": b"",
        "text": b"Once upon a time",
        "magic alone": content[:4],
        "truncated": content[: len(content) // 2],
        "one byte less": content[:-1],
        "one byte more": content + b"\0",
        "another version": content[:4] + b"\x0b\0\0\0" + content[8:],
        "not finite": content[:-2] + b"\x00\x7c",
        "other values": content[:-2000] + content[-1000:] + content[-2000:-1000],
        "other tokens": content[: end - 8] + content[12:20] + content[end:],
    }
    for name, changed in files.items():
        (folder / name).write_bytes(changed)
    (folder / "folder").mkdir()
    (folder / "link").symlink_to(good)
    found = {name: folder / name for name in (*files, "folder", "link", "missing")}
    return {**found, "long name": folder / ("x" * 300), "in a file": good / "x"}


def test_a_bad_file_is_an_error_with_a_hint_and_leaves_nothing(tiny_model: Path, session: Path, tmp_path: Path) -> None:
    causes = {}
    for name, path in broken_sessions(session, tmp_path).items():
        result = run("state", "import", str(path), "-m", str(tiny_model))
        assert (result.exit_code, result.stdout) == (1, ""), name
        assert "\nhint: " in result.stderr
        assert isinstance(result.exception, SystemExit)
        causes[name] = result.stderr.partition("\n")[0].rpartition(f"{path} cannot be imported: ")[2]
    assert causes == {
        "empty": "empty",
        "text": "not a session file of llama.cpp",
        "magic alone": "truncated",
        "truncated": "truncated",
        "one byte less": "truncated",
        "one byte more": "longer than its header says",
        "another version": "in version 11, not 9 or 10",
        "not finite": "damaged (layer 1 values: not finite)",
        "other values": "made with another model, or damaged (the keys and values do not match the tokens)",
        "other tokens": "made with another model, or damaged (the keys and values do not match the tokens)",
        "folder": "not a regular file",
        "link": "a link and not a file",
        "missing": "missing",
        "long name": "not readable (File name too long)",
        "in a file": "not readable (Not a directory)",
    }
    assert (chats(), segments()) == ([], [])


@pytest.mark.parametrize(
    ("other", "cause"),
    [
        ({"seed": 1}, "made with another model, or damaged"),
        ({"layers": 3}, "made with keys and values of another shape"),
        ({"architecture": "qwen2"}, "made with another architecture"),
    ],
)
def test_a_session_of_another_model_is_refused(
    session: Path, tmp_path: Path, other: dict[str, object], cause: str
) -> None:
    model = make_tiny_model(tmp_path / "other.gguf", **other)  # type: ignore[arg-type] # one of its options
    result = run("state", "import", str(session), "-m", str(model))
    assert result.exit_code == 1
    assert cause in result.stderr
    assert (chats(), segments()) == ([], [])


@pytest.mark.parametrize(
    "arguments", [("import", "session.bin"), ("export", "session.bin", "--text", "hello")], ids=["import", "export"]
)
def test_a_cache_of_q8_0_is_an_error_with_a_hint(tiny_model: Path, arguments: tuple[str, ...]) -> None:
    result = run("state", *arguments, "-m", str(tiny_model), "--cache-type", "q8_0")
    assert result.exit_code == 1
    assert "as f16, not q8_0\nhint: Use --cache-type f16." in result.stderr


def test_nothing_is_imported_where_nothing_is_stored(
    tiny_model: Path, session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUI_LLAMA_PROMPT_CACHE_MIB", "-1")
    result = run("state", "import", str(session), "-m", str(tiny_model))
    assert result.exit_code == 1
    assert "prompt_cache_mib" in result.stderr
    assert chats() == []


@pytest.mark.parametrize("obstacle", ["file", "link to nowhere"])
def test_that_there_is_no_place_for_a_chat_is_said_before_a_model_is_loaded(
    session: Path, tmp_path: Path, obstacle: str
) -> None:
    place = paths.data_folder()
    place.parent.mkdir(parents=True, exist_ok=True)
    if obstacle == "file":
        place.write_text("mine")
    else:
        place.symlink_to(tmp_path / "missing" / "folder")
    result = run("state", "import", str(session), "-m", str(tmp_path / "missing.gguf"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert str(place) in result.stderr
    assert "missing.gguf" not in result.stderr


def test_a_chat_whose_keys_and_values_cannot_be_stored_is_not_made(
    tiny_model: Path, session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_little_room(request: LoadRequest, prompt_cache_mib: int) -> LoadRequest:
        stored = with_prompt_cache(request, prompt_cache_mib)
        return LoadRequest(stored.model_path, prompt_cache_folder=stored.prompt_cache_folder, prompt_cache_bytes=100)

    monkeypatch.setattr("tui_llama.cli.llama_sessions.with_prompt_cache", with_little_room)
    result = run("state", "import", str(session), "-m", str(tiny_model))
    assert result.exit_code == 1
    assert "not stored (the disk quota is used up)" in result.stderr
    assert (chats(), segments()) == ([], [])


def test_a_session_that_cannot_be_written_is_an_error_with_a_hint(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "missing" / "out", tmp_path / "folder"):
        result = run("state", "export", str(path), "-m", str(tiny_model), "--text", TEXT)
        assert (result.exit_code, result.stdout) == (1, "")
        assert f"{path} is not written" in result.stderr
        assert "\nhint: " in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("options", [(), ("--force",)], ids=["plain", "force"])
def test_an_export_writes_over_nothing_that_is_no_session(
    tiny_model: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(tiny_model.read_bytes())
    (tmp_path / "same.gguf").hardlink_to(model)
    (tmp_path / "letter.txt").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "letter.txt")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe")
    names = sorted(path.name for path in tmp_path.iterdir())
    for place in (*(tmp_path / name for name in names), Path("/dev/null"), Path("/dev/full"), Path("/dev/stdout")):
        result = run("state", "export", str(place), "-m", str(model), "--text", TEXT, *options)
        assert (result.exit_code, result.stdout) == (1, ""), place
        assert f"{place} is not written: " in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert model.read_bytes() == tiny_model.read_bytes()
    assert (tmp_path / "letter.txt").read_text() == "mine"


def test_an_export_replaces_a_session_only_when_forced(tiny_model: Path, session: Path) -> None:
    before = session.read_bytes()
    result = run("state", "export", str(session), "-m", str(tiny_model), "--text", "another text")
    assert (result.exit_code, session.read_bytes()) == (1, before)
    assert "it is there already\nhint: Choose another name; --force replaces a session of llama.cpp." in result.stderr
    assert run("state", "export", str(session), "-m", str(tiny_model), "--text", "a text", "--force").exit_code == 0
    assert session.read_bytes() != before


@pytest.mark.parametrize(
    "arguments",
    [
        ("state", "export", "out"),
        ("state", "export", "out", "--text", "a", "--chat", "b"),
        ("state", "export", "out", "--text", "a", "--session-version", "8"),
        ("state", "export", "--text", "a"),
        ("state", "import"),
        ("state", "nonsense"),
        ("complete",),
    ],
)
def test_wrong_usage_ends_with_status_two_and_says_why(arguments: tuple[str, ...]) -> None:
    result = run(*arguments, "-m", "model.gguf") if len(arguments) > 2 else run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr


@pytest.mark.parametrize("arguments", [("complete", "--continue", "abc"), ("state", "export", "out", "--chat", "abc")])
def test_a_chat_that_is_not_there_is_an_error(tiny_model: Path, arguments: tuple[str, ...]) -> None:
    result = run(*arguments, "-m", str(tiny_model))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no chats yet" in result.stderr


def test_a_chat_longer_than_the_context_is_an_error_with_a_hint(
    tiny_model: Path, session: Path, tmp_path: Path
) -> None:
    chat_id = imported(session, tiny_model)
    small = ("-m", str(tiny_model), "--ctx", "16")
    for arguments in (
        ("state", "export", str(tmp_path / "out"), "--chat", chat_id),
        ("complete", "--continue", chat_id),
    ):
        result = run(*arguments, *small)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "\nhint: " in result.stderr


# --- with llama.cpp's own files -------------------------------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.parametrize("name", GOLDEN)
def test_what_llama_cpp_began_goes_on_with_its_words(shared_folder: Path, name: str, finished: list[Usage]) -> None:
    golden = (shared_folder / "golden" / "text" / "stories260K-greedy-200.txt").read_text().removesuffix("\n\n")
    chat_id = imported(
        shared_folder / "golden" / "session" / f"{name}.bin", shared_folder / "data" / "stories260K.gguf"
    )
    with Store(paths.database_file()) as store:
        said = store.messages(chat_id)[-1].text.removeprefix(PROMPT)
    generated = len(find_chat(chat_id).ledger.newest_ids) - 13
    result = run("complete", "--continue", chat_id, "--temp", "0", "-n", str(200 - generated))
    assert (result.exit_code, said + result.stdout) == (0, golden)
    assert (finished[-1].reused_tokens, finished[-1].read_tokens) == (generated + 12, 1)


@pytest.mark.shared
@pytest.mark.parametrize("name", GOLDEN)
def test_what_llama_cpp_wrote_goes_out_nearly_as_it_came(shared_folder: Path, name: str, tmp_path: Path) -> None:
    theirs = shared_folder / "golden" / "session" / f"{name}.bin"
    chat_id = imported(theirs, shared_folder / "data" / "stories260K.gguf")
    version = "9" if "-v9-" in name else "10"
    flash = "--flash-attention" if name.endswith("on") else "--no-flash-attention"
    result = run("state", "export", str(tmp_path / "ours"), "--chat", chat_id, "--session-version", version, flash)
    ours, golden = (tmp_path / "ours").read_bytes(), theirs.read_bytes()
    assert result.exit_code == 0
    # But for the last token, which was computed again, and in version 9 its logits.
    different = sum(one != other for one, other in zip(ours, golden, strict=True))
    assert different <= 5 * 2 * 64 + (4 * 512 if version == "9" else 0)
