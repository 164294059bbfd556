"""The day is part of the chat: what a model was told of the date stays, over midnights, zones and daylight saving."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from tests.fakes.clock import BERLIN, KATHMANDU, NEW_YORK, TOKYO, Clock
from tests.fakes.fake_model import FakeModel, answering
from tests.fakes.local_chat import QUIET, LocalDriver, chatting_with
from tests.fakes.tiny_model import make_tiny_model
from tui_llama import paths
from tui_llama.chat import ChatMessage, Role
from tui_llama.chats.chat_date import date_from, date_text, local_now
from tui_llama.chats.store import Store
from tui_llama.cli.main import command_line
from tui_llama.engine.templates.chat_template import ChatTemplate
from tui_llama.errors import CallerError

_SAID = (
    "{% for m in messages %}<s>{{ m.role }}:{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant:{% endif %}"
)
TEMPLATES = {
    "llama 3": "{%- if not date_string is defined %}{%- if strftime_now is defined %}"
    "{%- set date_string = strftime_now('%d %b %Y') %}{%- else %}{%- set date_string = '26 Jul 2024' %}{%- endif %}"
    "{%- endif %}<s>system:Cutting Knowledge Date- December 2023\nToday Date- {{ date_string }}</s>" + _SAID,
    "llama 3.2": "{%- set told = strftime_now('%d %b %Y') if strftime_now is defined else '26 Jul 2024' %}"
    "<s>system:Today Date- {{ told }}</s>" + _SAID,
    "gpt-oss": "{%- macro system() %}Knowledge cutoff- 2024-06\nCurrent date- {{ strftime_now('%Y-%m-%d') }}"
    "{%- endmacro %}<s>system:{{ system() }}</s>" + _SAID,
    "mistral small": "{%- set today = strftime_now('%Y-%m-%d') %}<s>system:You are Mistral Small. "
    "The current date is {{ today }}, {{ strftime_now('%A, %-d %B') }}.</s>" + _SAID,
    "with the time": "<s>system:{{ strftime_now('%c %Z %s') }} {{ datetime }}</s>" + _SAID,
}


def model_with(template: str) -> FakeModel:
    model = FakeModel(answering("yes"), context_size=1024, vocabulary="bytes")
    model.chat_template = ChatTemplate(TEMPLATES[template], "test")
    return model


@asynccontextmanager
async def chat_of_before(model: FakeModel) -> AsyncIterator[LocalDriver]:
    """The program begun again, with the chat that was used last."""
    async with chatting_with(model) as driver:
        await driver.pilot.press("ctrl+pagedown")
        await driver.until(lambda: driver.questions, "the chat of before")
        yield driver


MIDNIGHT = (("2026-11-27 23:58:03", BERLIN), ("2026-11-28 00:03:00", BERLIN))
MOVES = {
    "weeks later": (("2026-11-27 23:58:03", BERLIN), ("2027-03-01 12:00:00", BERLIN)),
    "clocks go forward": (("2026-03-29 01:59:59", BERLIN), ("2026-03-29 03:00:01", BERLIN)),
    "clocks go back": (("2026-10-25 00:30:00", BERLIN), ("2026-11-02 00:30:00", BERLIN)),
    "over the date line": (("2026-11-27 07:00:00", TOKYO), ("2026-11-26 17:00:05", NEW_YORK)),
    "half an hour more": (("2026-11-26 23:50:00", NEW_YORK), ("2026-11-27 10:35:10", KATHMANDU)),
}


@pytest.mark.parametrize(
    ("template", "begins", "goes_on"),
    [
        *((template, *MIDNIGHT) for template in TEMPLATES),
        *(("with the time", *moments) for moments in MOVES.values()),
    ],
    ids=[*TEMPLATES, *MOVES],
)
async def test_all_that_was_read_is_there_the_next_day(
    template: str, begins: tuple[str, str], goes_on: tuple[str, str], clock: Clock
) -> None:
    clock.set(*begins)
    async with chatting_with(model_with(template)) as driver:
        await driver.ask("first")
        before = driver.engine.encoded[0]
        fed = len(before.token_ids) + driver.engine.finished[0].usage.generated_tokens
    clock.set(*goes_on)
    async with chat_of_before(model_with(template)) as driver:
        await driver.ask("second")
        assert driver.engine.encoded[0].kept_tokens == fed
        assert driver.engine.finished[0].usage.reused_tokens == fed - 1  # the last has no keys and values yet
        await driver.pilot.press("ctrl+r")
        await driver.until(lambda: len(driver.engine.finished) == 2, "another answer")
        asked = len(driver.engine.encoded[1].token_ids) + driver.engine.encoded[1].kept_tokens
        assert driver.engine.finished[1].usage.reused_tokens == asked - 1


async def test_a_chat_that_is_open_over_midnight_keeps_its_day(clock: Clock) -> None:
    clock.set("2026-11-27 23:58:03", BERLIN)
    async with chatting_with(model_with("llama 3.2"), settings=replace(QUIET, read_ahead="on")) as driver:
        await driver.ask("first")
        clock.set("2026-11-28 00:01:00", NEW_YORK)
        await driver.ask("second")
        await driver.until(lambda: "ready" in driver.status and driver.engine.ahead_requests, "reading ahead")
        await driver.pilot.press("up")
        await driver.write("!")
        await driver.pilot.press("enter")
        await driver.until(lambda: len(driver.engine.requests) == 3, "the edited message")
        days = {request.begun_at for request in (*driver.engine.requests, *driver.engine.ahead_requests)}
        assert days == {"2026-11-27T23:58:03+01:00"}


async def test_a_chat_begins_with_its_first_message_and_not_with_its_screen(clock: Clock) -> None:
    clock.set("2026-11-27 23:58:03", BERLIN)
    async with chatting_with(model_with("llama 3.2"), settings=replace(QUIET, read_ahead="on")) as driver:
        await driver.write("a draft that is read ahead ")
        await driver.until(lambda: driver.engine.ahead_requests, "reading ahead")
        assert driver.engine.ahead_requests[-1].begun_at == "2026-11-27T23:58:03+01:00"
        clock.set("2026-11-27 23:59:00", BERLIN)
        assert driver.app.turn_driver.chat.begun_at.minute == 58  # of the same day: what was read ahead stays good
        clock.set("2026-11-28 00:01:00", BERLIN)
        await driver.ask("first")
        assert driver.engine.requests[-1].begun_at == "2026-11-28T00:01:00+01:00"


@pytest.mark.parametrize("is_incognito", [False, True])
async def test_each_chat_has_its_own_day(clock: Clock, is_incognito: bool) -> None:
    clock.set("2026-11-27 12:00:00", BERLIN)
    async with chatting_with(model_with("llama 3.2")) as driver:
        await driver.ask("first")
        clock.set("2026-11-28 12:00:00", BERLIN)
        await driver.send("/incognito" if is_incognito else "/new")
        await driver.until(lambda: not driver.questions, "an empty chat")
        await driver.ask("second")
        clock.set("2026-11-29 12:00:00", BERLIN)
        await driver.ask("third")
        days = [request.begun_at[:10] for request in driver.engine.requests]
        assert days == ["2026-11-27", "2026-11-28", "2026-11-28"]


async def ask_for_today(driver: LocalDriver, words: tuple[str, ...], answer: str) -> None:
    """Asks for the day to be renewed, and answers when these words are there."""
    await driver.send("/today")
    await driver.until(lambda: "Tell the model today's date?" in driver.screen_text(), "the question")
    assert all(word in driver.screen_text() for word in words), driver.screen_text()
    await driver.pilot.press(answer)
    await driver.until(lambda: "Tell the model" not in driver.screen_text(), "the chat")


async def test_a_command_lets_the_model_know_todays_date_and_says_first_what_that_costs(clock: Clock) -> None:
    clock.set("2026-11-27 12:00:00", BERLIN)
    async with chatting_with(model_with("llama 3.2")) as driver:
        await driver.ask("first")
        clock.set("2026-11-28 12:00:00", BERLIN)
        price = ("It was 2026-11-27 so far.", "keeps 21 ·", "reads 60")
        await ask_for_today(driver, price, "n")
        await ask_for_today(driver, price, "y")
        await driver.ask("And?")
        assert driver.engine.requests[-1].begun_at == "2026-11-28T12:00:00+01:00"
        usage = driver.engine.finished[-1].usage
        assert (usage.reused_tokens, usage.read_tokens) == (21, 60)
    clock.set("2026-11-30 12:00:00", NEW_YORK)
    async with chat_of_before(model_with("llama 3.2")) as driver:
        await driver.ask("third")
        assert driver.engine.requests[-1].begun_at == "2026-11-28T12:00:00+01:00"
        assert driver.engine.finished[-1].usage.reused_tokens == driver.engine.encoded[-1].kept_tokens - 1


async def test_a_refusal_keeps_the_day(clock: Clock) -> None:
    clock.set("2026-11-27 12:00:00", BERLIN)
    async with chatting_with(model_with("gpt-oss")) as driver:
        await driver.ask("first")
        clock.set("2026-11-28 12:00:00", BERLIN)
        await ask_for_today(driver, ("keeps",), "n")
        await driver.ask("second")
        assert driver.engine.requests[-1].begun_at == "2026-11-27T12:00:00+01:00"


async def test_where_the_day_is_todays_there_is_nothing_to_renew(clock: Clock) -> None:
    clock.set("2026-11-27 12:00:00", BERLIN)
    async with chatting_with(model_with("llama 3.2")) as driver:
        for _ in range(2):  # an empty chat, and one of today
            await driver.send("/date")
            await driver.until(lambda: "already told today's date" in driver.status, "a hint")
            assert driver.app.screen is driver.app.chat_screen  # no question is asked
            await driver.ask("first")
        assert {request.begun_at for request in driver.engine.requests} == {"2026-11-27T12:00:00+01:00"}


async def test_without_a_model_the_day_can_be_renewed_though_nobody_knows_what_that_costs(clock: Clock) -> None:
    clock.set("2026-11-27 12:00:00", BERLIN)
    async with chatting_with(model_with("llama 3.2")) as driver:
        await driver.ask("first")
        await driver.send("/model nowhere.gguf")
        await driver.until_state("no model")
        clock.set("2026-11-28 12:00:00", BERLIN)
        await ask_for_today(
            driver,
            (
                "Cost of the next",
                "unknown",
            ),
            "y",
        )
        await driver.settle()
        assert driver.store.chat(driver.store.list_chats()[0].chat_id).begun_at.day == 28


# --- on the command line ---


def test_a_question_on_the_command_line_is_asked_now(tmp_path: Path, clock: Clock) -> None:
    template = "{{ strftime_now('%d %b %Y') }} {{ messages[0].content }}"
    model = make_tiny_model(tmp_path / "tiny.gguf", chat_template=template)
    clock.set("2026-11-27 23:58:03", BERLIN)
    asked = CliRunner().invoke(command_line, ["ask", "hello", "-m", str(model), "-n", "6", "--temp", "0"], input="")
    told = CliRunner().invoke(
        command_line, ["complete", "27 Nov 2026 hello", "-m", str(model), "-n", "6", "--temp", "0"]
    )
    assert (asked.exit_code, told.exit_code) == (0, 0)
    assert asked.stdout == told.stdout


CHATML_WITH_DATE = (
    "<|im_start|>system\nToday is {{ strftime_now('%d %B %Y') }}.<|im_end|>\n{% for m in messages %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_a_session_of_another_day_is_taken_in_with_its_day(tmp_path: Path, clock: Clock) -> None:
    model = make_tiny_model(tmp_path / "tiny.gguf", chat_template=CHATML_WITH_DATE)
    text = (
        "<|im_start|>system\nToday is 31 October 2026.<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n"
        "<|im_start|>assistant\nthere"
    )
    clock.set("2026-11-27 12:00:00", BERLIN)
    run = CliRunner().invoke
    run(command_line, ["state", "export", str(tmp_path / "talk.bin"), "-m", str(model), "--text", text])
    result = run(command_line, ["state", "import", str(tmp_path / "talk.bin"), "-m", str(model)])
    assert result.exit_code == 0, result.stderr
    with Store(paths.database_file()) as store:
        chat = store.chat(result.stdout.strip())
        assert [message.text for message in store.messages(chat.chat_id)] == ["hello", "there"]
    assert chat.begun_at.date().isoformat() == "2026-10-31"


# --- the moment itself ---


def test_a_moment_comes_back_as_it_was_written_in_any_zone(clock: Clock) -> None:
    clock.set("2026-03-29 01:59:59", BERLIN)
    text = date_text(local_now())
    assert text == "2026-03-29T01:59:59+01:00"
    clock.set("2026-07-01 12:00:00", NEW_YORK)
    moment = date_from(text)
    assert moment is not None
    assert (date_text(moment), moment.hour) == (text, 1)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-27T12:00:00", "2026-99-27T12:00:00+01:00"])
def test_what_is_no_moment_with_an_offset_is_none(text: str) -> None:
    assert date_from(text) is None


def test_a_moment_without_an_offset_is_not_written() -> None:
    with pytest.raises(CallerError):
        date_text(datetime(2026, 11, 27))


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, KATHMANDU])
def test_a_template_writes_the_same_text_wherever_the_chat_goes_on(zone: str, clock: Clock) -> None:
    begun = datetime(2026, 3, 29, 1, 30, tzinfo=timezone(timedelta(hours=1)))
    template = ChatTemplate("{{ strftime_now('%c|%x %X|%s|%Z%z|%j') }} {{ date_string }} {{ datetime }}", "test")
    clock.set("2026-10-25 02:30:00", zone)
    said = [ChatMessage(Role.USER, "hello")]
    assert template.render(said, now=begun) == (
        "Sun Mar 29 01:30:00 2026|03/29/26 01:30:00|1774744200||088 29 Mar 2026 Mar 29 2026"
    )
