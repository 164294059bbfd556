"""A chat that changes to a model with another vocabulary, and back: no token id is read as what it is not."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from tests.fakes.fake_model import EOS, FakeModel, answering
from tests.fakes.local_chat import QUIET, LocalDriver, chatting_with
from tests.fakes.tiny_model import CHATML_TEMPLATE, VocabularyKind, make_tiny_model
from tests.starter.real_chat import StarterDriver, chatting
from tui_llama import paths
from tui_llama.chats.store import Store
from tui_llama.cli.main import command_line
from tui_llama.engine.events import TOKENISED_AGAIN
from tui_llama.engine.requests import CompleteRequest

SAYS_ONE = answering("one")


def small() -> FakeModel:
    return FakeModel(SAYS_ONE, name="small", vocabulary="bytes")


def larger() -> FakeModel:
    """Another model with the vocabulary of `small`."""
    return FakeModel(answering("larger"), name="larger", vocabulary="bytes")


def other(first_byte: int = 1000) -> FakeModel:
    """A model whose ids are all others; nearly all of them are none in the vocabulary of `small`."""
    return FakeModel(answering("two"), name="other", vocabulary="other bytes", first_byte=first_byte)


async def change_to(driver: LocalDriver, model: FakeModel) -> None:
    await driver.send(f"/model {model.info.path}")
    await driver.until(lambda: (now := driver.app.turn_driver.model) and now.path == model.info.path, "another model")
    await driver.until_state("ready")


async def show_chat_before(driver: LocalDriver) -> None:
    """Shows the chat that was stored before the program was opened again."""
    await driver.pilot.press("ctrl+pagedown")
    await driver.until(lambda: driver.questions, "the chat of before")


async def answer_again(driver: LocalDriver) -> None:
    """Has the last message answered once more."""
    count = len(driver.engine.finished)
    await driver.pilot.press("ctrl+r")
    await driver.until(lambda: len(driver.engine.finished) == count + 1, "another answer")
    await driver.until_state("ready")


def told(driver: LocalDriver) -> int:
    """How often it was said that a text is tokenised again."""
    return sum(TOKENISED_AGAIN in remark for remark in driver.remarks)


async def stored(driver: LocalDriver) -> dict[str, tuple[int, ...]]:
    await driver.settle()
    chat_id = driver.store.list_chats()[0].chat_id
    return dict(driver.store.ledger(driver.store.messages(chat_id)[-1].message_id).by_vocabulary)


def in_bytes(text: str, first_byte: int = 0) -> tuple[int, ...]:
    """The ids of a text, `</s>` and `<s>` among them."""
    ids = list(text.replace("</s>", "\x01").replace("<s>", "\x00").encode())
    return tuple(first_byte + {0: EOS - 1, 1: EOS}.get(byte, byte) for byte in ids)


ASKED = "<s>user:first</s><s>assistant:"
ANSWERED = ASKED + "one</s>"


@pytest.mark.parametrize("first_byte", [1, 1000], ids=["ids of both vocabularies", "other ids"])
async def test_a_model_with_another_vocabulary_answers_from_the_text_and_says_so_once(first_byte: int) -> None:
    first, second = small(), other(first_byte)
    async with chatting_with(first, second) as driver:
        await driver.ask("first")
        await change_to(driver, second)
        await driver.ask("second")
        await driver.ask("third")
        assert driver.answers == ["one", "two", "two"]
        assert [len(request.ledger) for request in driver.engine.requests[1:]] == [
            0,
            driver.engine.finished[1].usage.context_used + 1,
        ]
        assert driver.engine.encoded[1].kept_tokens == 0
        assert told(driver) == 1
        assert not any("CallerError" in remark for remark in driver.remarks)
        ids = await stored(driver)
        assert ids["bytes"] == in_bytes(ANSWERED)
        said = ANSWERED + "<s>user:second</s><s>assistant:two</s><s>user:third</s><s>assistant:two</s>"
        assert ids["other bytes"] == in_bytes(said, first_byte)


async def test_back_at_the_first_model_its_own_ids_are_good_again() -> None:
    first, second = small(), other()
    async with chatting_with(first, second) as driver:
        await driver.ask("first")
        await change_to(driver, second)
        await driver.ask("second")
        await change_to(driver, first)
        await driver.ask("third")
        encoded = driver.engine.encoded[-1]
        assert encoded.kept_tokens == len(in_bytes(ANSWERED))
        assert encoded.token_ids == in_bytes("<s>user:second</s><s>assistant:two</s><s>user:third</s><s>assistant:")
        assert told(driver) == 2  # the second model's turn is new to the first
        await driver.ask("fourth")
        assert told(driver) == 2
        assert driver.engine.encoded[-1].token_ids == in_bytes("<s>user:fourth</s><s>assistant:")


async def test_a_larger_model_with_the_same_vocabulary_goes_on_with_the_ids() -> None:
    first, second = small(), larger()
    async with chatting_with(first, second) as driver:
        await driver.ask("first")
        await change_to(driver, second)
        await driver.ask("second")
        assert driver.engine.encoded[-1].kept_tokens == len(in_bytes(ANSWERED))
        assert driver.engine.finished[-1].usage.reused_tokens == 0  # keys and values are each model's own
        assert told(driver) == 0


async def test_an_answer_is_given_again_by_a_model_with_another_vocabulary() -> None:
    first, second = small(), other()
    async with chatting_with(first, second) as driver:
        await driver.ask("first")
        await driver.ask("second")
        await change_to(driver, second)
        await driver.pilot.press("ctrl+r")
        await driver.until(lambda: driver.answers == ["one", "two"], "the other answer")
        await driver.until_state("ready")
        assert driver.engine.requests[-1].ledger == ()
        assert (await stored(driver))["other bytes"] == in_bytes(
            ANSWERED + "<s>user:second</s><s>assistant:two</s>", 1000
        )


async def test_each_of_two_models_that_take_turns_is_told_of_once_however_often_they_answer() -> None:
    first, second = small(), other()
    async with chatting_with(first, second) as driver:
        await driver.ask("first")
        await driver.ask("second")
        for model in (second, first, second, first):
            await change_to(driver, model)
            await driver.ask("more")
            for _ in range(2):
                await answer_again(driver)
        assert told(driver) == 2


async def test_a_chat_that_is_shown_again_says_it_again() -> None:
    first, second = small(), other()
    async with chatting_with(first, second) as driver:
        await driver.ask("first")
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: not driver.questions, "a new chat")
        await driver.ask("other")
        await change_to(driver, second)
        await driver.ask("more")
        assert told(driver) == 1
        await driver.pilot.press("ctrl+pagedown")
        await driver.until(lambda: driver.questions == ["first"], "the chat of before")
        await driver.ask("second")
        assert told(driver) == 1  # what is shown of the other chat is gone


@pytest.mark.parametrize("first_byte", [1, 1000])
async def test_ids_of_both_kinds_that_are_not_used_are_told_of_once(first_byte: int) -> None:
    """The newest answer is known to be of another vocabulary, and the one before is found to be."""
    async with chatting_with(other(first_byte)) as driver:
        await driver.ask("first")
    forget_vocabularies()
    third = FakeModel(answering("three"), name="third", vocabulary="third bytes", first_byte=2000)
    async with chatting_with(third, small()) as driver:
        await show_chat_before(driver)
        await driver.ask("second")
        assert told(driver) == 1
        await change_to(driver, small())
        await driver.ask("third")
        assert driver.answers == ["two", "three", "one"]
        assert told(driver) == 2
        await answer_again(driver)
        assert told(driver) == 2


async def test_an_edited_message_is_priced_and_answered_by_a_model_with_another_vocabulary() -> None:
    first, second = small(), other()
    async with chatting_with(first, second) as driver:
        await driver.ask("first")
        await driver.ask("second")
        await change_to(driver, second)
        await driver.pilot.press("up")
        await driver.until_state("editing  keeps 0 · reads 51")
        await driver.write(" thoughts")
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.answers == ["one", "two"], "an answer")
        await driver.until_state("ready")
        edited = ANSWERED + "<s>user:second thoughts</s><s>assistant:"
        assert driver.engine.encoded[-1].kept_tokens == 0
        assert driver.engine.encoded[-1].token_ids == in_bytes(edited, 1000)
        assert len(edited.replace("<s>", "1").replace("</s>", "1")) == 51 + len(" thoughts")  # as the price said
        assert (await stored(driver))["other bytes"] == in_bytes(edited + "two</s>", 1000)


async def test_what_is_read_ahead_for_another_vocabulary_is_what_is_sent() -> None:
    first, second = small(), other()
    async with chatting_with(first, second, settings=replace(QUIET, read_ahead="on")) as driver:
        await driver.ask("first")
        await change_to(driver, second)
        await driver.until(lambda: driver.engine.ahead_requests and "ready" in driver.status, "reading ahead")
        await driver.until(lambda: told(driver) == 1, "the line that says so")
        assert driver.engine.ahead_requests[-1].ledger == ()
        await driver.ask("second")
        assert driver.answers == ["one", "two"]
        assert told(driver) == 1


def has_finished(driver: LocalDriver, count: int) -> bool:
    return len(driver.engine.finished) == count


async def cut_off(driver: LocalDriver, text: str, tokens: int) -> None:
    """Asks for an answer that is cut off after some tokens."""
    driver.app.live_chats.host.settings = replace(driver.app.live_chats.host.settings, max_tokens=tokens)
    await driver.ask(text)
    driver.app.live_chats.host.settings = replace(driver.app.live_chats.host.settings, max_tokens=None)


async def test_an_answer_that_was_cut_off_goes_on_from_its_text_with_another_vocabulary() -> None:
    first, second = (
        FakeModel(answering("a long answer"), name="small", vocabulary="bytes"),
        FakeModel(answering("a long way to go"), name="other", vocabulary="other bytes", first_byte=1000),
    )
    async with chatting_with(first, second) as driver:
        await cut_off(driver, "first", 6)
        assert driver.answers == ["a long"]
        await change_to(driver, second)
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers == ["a long way to go"], "the rest")
        await driver.until_state("ready")
        assert told(driver) == 1
        request = driver.engine.requests[-1]
        assert isinstance(request, CompleteRequest)
        assert (request.ledger, driver.engine.encoded[-1].answer_tokens) == ((), 6)
        assert await stored(driver) == {"other bytes": in_bytes(ASKED + "a long way to go</s>", 1000)}
        assert driver.store.generated_token_count(2) == len("a long way to go") + 1
        await driver.ask("second")  # and its tokens are kept now
        assert driver.engine.encoded[-1].kept_tokens == len(in_bytes(ASKED + "a long way to go</s>"))
        assert told(driver) == 1


async def test_an_answer_goes_on_with_the_first_model_after_the_other_has_written_a_part_of_it() -> None:
    first = FakeModel(answering("abcdefghij"), name="small", vocabulary="bytes")
    second = FakeModel(answering("abcdefghij"), name="other", vocabulary="other bytes", first_byte=1000)
    async with chatting_with(first, second) as driver:
        await cut_off(driver, "first", 3)
        for model in (second, first):
            await change_to(driver, model)
            driver.app.live_chats.host.settings = replace(driver.app.live_chats.host.settings, max_tokens=3)
            count = len(driver.engine.finished)
            await driver.pilot.press("f5")
            await driver.until(partial(has_finished, driver, count + 1), "more of it")
            await driver.until_state("ready")
        assert driver.answers == ["abcdefghi"]
        assert await stored(driver) == {"bytes": in_bytes(ASKED + "abcdefghi")}


async def test_a_chat_that_is_opened_again_with_another_model_goes_on_from_its_text() -> None:
    async with chatting_with(small()) as driver:
        await driver.ask("first")
    async with chatting_with(other()) as driver:
        await show_chat_before(driver)
        await driver.ask("second")
        assert driver.answers == ["one", "two"]
        assert told(driver) == 1


# --- chats that an older version stored ---


def forget_vocabularies() -> None:
    """The chats as a version stored them that did not write down vocabularies."""
    with closing(sqlite3.connect(paths.database_file())) as database, database:
        database.execute("UPDATE messages SET vocabulary = NULL")


async def test_ids_of_a_vocabulary_that_nobody_wrote_down_are_used_where_they_write_the_text() -> None:
    async with chatting_with(small()) as driver:
        await driver.ask("first")
    forget_vocabularies()
    async with chatting_with(small()) as driver:
        await show_chat_before(driver)
        await driver.ask("second")
        assert driver.engine.encoded[-1].kept_tokens == len(in_bytes(ANSWERED))
        assert told(driver) == 0
        said = in_bytes(ANSWERED + "<s>user:second</s><s>assistant:one</s>")
        assert (await stored(driver))["bytes"] == said


@pytest.mark.parametrize("first_byte", [1, 1000])
async def test_ids_of_a_vocabulary_that_nobody_wrote_down_are_not_used_where_they_do_not(first_byte: int) -> None:
    async with chatting_with(other(first_byte)) as driver:
        await driver.ask("first")
    forget_vocabularies()
    async with chatting_with(small()) as driver:
        await show_chat_before(driver)
        await driver.ask("second")
        assert driver.answers == ["two", "one"]
        assert driver.engine.encoded[-1].kept_tokens == 0
        assert told(driver) == 1


async def test_an_answer_of_a_vocabulary_that_nobody_wrote_down_goes_on_token_by_token() -> None:
    async with chatting_with(FakeModel(answering("a long answer"), name="small", vocabulary="bytes")) as driver:
        await cut_off(driver, "first", 6)
    forget_vocabularies()
    async with chatting_with(FakeModel(answering("a long answer"), name="small", vocabulary="bytes")) as driver:
        await show_chat_before(driver)
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers == ["a long answer"], "the rest")
        assert driver.engine.encoded[-1].token_ids == ()
        assert await stored(driver) == {"bytes": in_bytes(ASKED + "a long answer</s>")}


# --- with weights ---


def tiny(folder: Path, vocabulary: VocabularyKind, seed: int = 1) -> Path:
    path = folder / f"{vocabulary}-{seed}.gguf"
    return make_tiny_model(path, vocabulary=vocabulary, seed=seed, chat_template=CHATML_TEMPLATE, name=vocabulary)


def has_loaded(driver: StarterDriver, model: Path) -> bool:
    return driver.app.turn_driver.model is not None and driver.app.turn_driver.model.path == str(model)


async def test_real_models_take_turns_in_one_chat(tmp_path: Path) -> None:
    models = [tiny(tmp_path, "bpe"), tiny(tmp_path, "spm")]
    settings = replace(QUIET, max_tokens=6, draft_max=0)
    async with chatting(models[0], settings) as driver:
        await driver.ask("hello there")
        for model in (models[1], models[0], models[1]):
            await driver.send(f"/model {model}")
            await driver.until(partial(has_loaded, driver, model), "the model")
            await driver.until_state("ready")
            await driver.ask("and what then")
        assert len(driver.answers) == 4
        assert not [remark for remark in driver.remarks if remark != TOKENISED_AGAIN]
        assert len(driver.remarks) == 2  # of each model once
        fed = driver.store.ledger((await driver.stored_messages())[-1].message_id).by_vocabulary
        assert sorted(len(vocabulary) for vocabulary in fed) == [32, 32]


@pytest.mark.shared
async def test_a_model_with_a_vocabulary_of_its_own_answers_what_it_always_says(
    tmp_path: Path, shared_folder: Path
) -> None:
    says = tmp_path / "says.gguf"
    script = shared_folder / "hunt" / "say_model.py"
    subprocess.run([sys.executable, script, says, "--text", "Hello there."], check=True, stdout=subprocess.DEVNULL)
    async with chatting(tiny(tmp_path, "bpe"), replace(QUIET, max_tokens=20, draft_max=0)) as driver:
        await driver.ask("one")
        await driver.ask("two")
        await driver.send(f"/model {says}")
        await driver.until(partial(has_loaded, driver, says), "the model")
        await driver.until_state("ready")
        await driver.ask("three")
        assert driver.answers[-1] == "Hello there."
        assert driver.remarks == [TOKENISED_AGAIN]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command_line, arguments)


@pytest.fixture
async def real_chat(tmp_path: Path) -> str:
    """A chat with a model of the byte-pair vocabulary whose answer was cut off."""
    async with chatting(tiny(tmp_path, "bpe"), replace(QUIET, max_tokens=6, draft_max=0)) as driver:
        await driver.ask("hello there")
        await driver.stored_messages()
        return driver.store.list_chats()[0].chat_id


def rendered(model: Path, chat_id: str, text: str = "") -> str:
    with Store(paths.database_file()) as store:
        answer = store.messages(chat_id)[-1].text
    return f"<|im_start|>user\nhello there<|im_end|>\n<|im_start|>assistant\n{answer}{text}"


def test_a_continuation_on_the_command_line_is_tokenised_again_for_another_vocabulary(
    real_chat: str, tmp_path: Path
) -> None:
    model = tiny(tmp_path, "spm")
    answering_ = ("-m", str(model), "-n", "8", "--temp", "0")
    result = run("complete", "--continue", real_chat, *answering_, " and")
    assert (result.exit_code, result.stderr.count(TOKENISED_AGAIN)) == (0, 1)
    expected = run("complete", rendered(model, real_chat, " and"), *answering_)
    assert result.stdout == expected.stdout
    own = run("complete", "--continue", real_chat, "-n", "8", "--temp", "0", " and")
    assert (own.exit_code, own.stderr) == (0, "")


def test_only_what_uses_a_template_says_that_there_is_none(tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "plain.gguf", chat_template=None)
    says = "no chat template"
    assert run("ask", "hello", "-m", str(model), "-n", "2").stderr.count(says) == 1
    assert run("complete", "hello", "-m", str(model), "-n", "2").stderr == ""
    session = tmp_path / "session.bin"
    assert run("state", "export", str(session), "--text", "hello there", "-m", str(model)).stderr == ""
    assert run("state", "import", str(session), "-m", str(model)).stderr.count(says) == 1


def exported(path: Path, *options: str) -> bytes:
    result = run("state", "export", str(path), *options)
    assert result.exit_code == 0, result.stderr
    return path.read_bytes()


def test_a_chat_is_exported_for_another_vocabulary_as_its_text_would_be(real_chat: str, tmp_path: Path) -> None:
    model = tiny(tmp_path, "spm")
    result = run("state", "export", str(tmp_path / "chat.bin"), "--chat", real_chat, "-m", str(model))
    assert (result.exit_code, result.stderr.count(TOKENISED_AGAIN)) == (0, 1)
    text = exported(tmp_path / "text.bin", "--text", rendered(model, real_chat), "-m", str(model))
    assert (tmp_path / "chat.bin").read_bytes() == text


def test_a_session_that_was_imported_has_the_vocabulary_of_its_model(tmp_path: Path) -> None:
    model = tiny(tmp_path, "bpe")
    exported(
        tmp_path / "talk.bin",
        "--text",
        "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\nthere",
        "-m",
        str(model),
    )
    chat_id = run("state", "import", str(tmp_path / "talk.bin"), "-m", str(model)).stdout.strip()
    result = run("complete", "--continue", chat_id, "-m", str(tiny(tmp_path, "bpe", seed=2)), "-n", "2")
    assert (result.exit_code, result.stderr) == (0, "")
    result = run("complete", "--continue", chat_id, "-m", str(tiny(tmp_path, "spm")), "-n", "2")
    assert (result.exit_code, result.stderr.count(TOKENISED_AGAIN)) == (0, 1)
