"""JSON and grammars in the chat: for all answers or the next one, checked where they are typed, and told at the end."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from tests.fakes.chat_app import Driver, opened, spoken
from tui_llama.chat import AnswerBounds, ChatChoices, StopReason, Usage
from tui_llama.engine.descriptions import Capabilities
from tui_llama.engine.events import Finished, GrammarProgress, ModelLoaded, TextPiece
from tui_llama.engine.requests import CompleteRequest
from tui_llama.engine.scripted import Gate, ScriptedEngine, Step, demo_model

GRAMMAR = 'root ::= "yes" | "no"'
ANY = '{"type": "object"}'


def cut(text: str) -> Sequence[Step]:
    """A bound answer that ended too soon."""
    return (TextPiece(0, text, (1,)), Finished(0, StopReason.LENGTH, Usage(generated_tokens=1, is_incomplete=True)))


def bounds_of_last(driver: Driver, engine: ScriptedEngine) -> AnswerBounds:
    request = engine.reply_requests[-1]
    return AnswerBounds(request.json_schema, request.grammar)


def bound_engine(*replies: Sequence[Step]) -> ScriptedEngine:
    model = msgspec.structs.replace(demo_model("m"), capabilities=Capabilities(has_grammars=True))
    return ScriptedEngine(load=[ModelLoaded(model)], replies=replies or [spoken("{}")] * 4)


async def test_json_binds_all_answers_of_the_chat_and_is_kept_with_it() -> None:
    engine = bound_engine()
    async with opened(engine=engine) as driver:
        await driver.send("/json")
        assert "Answers in this chat are JSON" in driver.status
        await driver.ask("One")
        await driver.ask("Two")
        assert [request.json_schema for request in engine.reply_requests] == [ANY, ANY]
        assert "JSON" in driver.status
        chat = driver.app.turn_driver.chat
        assert chat.choices == ChatChoices(bounds=AnswerBounds(json_schema=ANY))
        await driver.send("/json off")
        await driver.ask("Three")
        assert not bounds_of_last(driver, engine)
        assert chat.choices == ChatChoices()


async def test_once_binds_the_next_answer_alone() -> None:
    engine = bound_engine()
    async with opened(engine=engine) as driver:
        await driver.send('/json once {"enum": [1]}')
        await driver.until(lambda: "JSON once" in driver.status or "The next answer is JSON" in driver.status)
        await driver.ask("One")
        assert bounds_of_last(driver, engine) == AnswerBounds(json_schema='{"enum": [1]}')
        await driver.ask("Two")
        assert not bounds_of_last(driver, engine)
        assert driver.app.turn_driver.chat.choices == ChatChoices()


async def test_another_answer_is_bound_alike_until_that_is_taken_back_and_the_message_tells() -> None:
    engine = bound_engine()
    async with opened(engine=engine) as driver:
        await driver.send("/json once")
        await driver.ask("One")
        await driver.until(lambda: "its answer is JSON" in driver.screen_text())
        await driver.pilot.press("ctrl+r")
        await driver.until(lambda: len(engine.reply_requests) == 2)
        await driver.at_rest()
        assert bounds_of_last(driver, engine) == AnswerBounds(json_schema=ANY)
        await driver.send("/json off")
        await driver.pilot.press("ctrl+r")
        await driver.until(lambda: len(engine.reply_requests) == 3)
        assert not bounds_of_last(driver, engine)


async def test_a_grammar_takes_the_place_of_a_schema() -> None:
    engine = bound_engine()
    async with opened(engine=engine) as driver:
        await driver.send("/json")
        await driver.send(f"/grammar {GRAMMAR}")
        await driver.ask("One")
        assert bounds_of_last(driver, engine) == AnswerBounds(grammar=GRAMMAR)
        await driver.send("/grammar")
        assert "Answers fit a grammar" in driver.status


async def test_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text('{\n  "type": "array"\n}')
    (tmp_path / "rules.gbnf").write_text(GRAMMAR)
    async with opened(engine=bound_engine()) as driver:
        chat = driver.app.turn_driver.chat
        await driver.send(f"/json {tmp_path / 'schema.json'}")
        await driver.until(lambda: chat.bounds == AnswerBounds(json_schema='{\n  "type": "array"\n}'))
        await driver.send(f"/grammar once {tmp_path / 'rules.gbnf'}")
        await driver.until(lambda: chat.bounds == AnswerBounds(grammar=GRAMMAR))
        await driver.send("/json missing.json")
        await driver.until(lambda: "missing.json" in driver.status)
        assert chat.bounds == AnswerBounds(grammar=GRAMMAR)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ('/json {"type": }', "line 1, column 10"),
        ('/json once {"type": }', "line 1, column 10"),
        ("/grammar root ::= (", "line 1, column 10"),
    ],
)
async def test_what_is_wrong_is_told_at_once_with_its_place(typed: str, words: str) -> None:
    async with opened(engine=bound_engine()) as driver:
        await driver.send(typed)
        assert words in driver.status
        assert not driver.app.turn_driver.chat.bounds


async def test_a_server_without_grammars_is_offered_none() -> None:
    model = msgspec.structs.replace(demo_model("m"), server="plain", capabilities=Capabilities(has_grammars=False))
    async with opened(engine=ScriptedEngine(load=[ModelLoaded(model)])) as driver:
        await driver.send(f"/grammar {GRAMMAR}")
        assert "plain knows no grammars" in driver.status
        assert not driver.app.turn_driver.chat.bounds


async def test_an_answer_that_ended_too_soon_says_so_and_goes_on_bound() -> None:
    engine = bound_engine(cut('{"a": '), spoken("1}"))
    async with opened(engine=engine) as driver:
        await driver.send("/json once")
        await driver.ask("One")
        await driver.until(lambda: "ended at the token limit · the JSON is not complete" in " ".join(driver.notes))
        await driver.pilot.press("f5")
        await driver.until(lambda: len(engine.reply_requests) == 2)
        assert isinstance(engine.reply_requests[-1], CompleteRequest)
        assert bounds_of_last(driver, engine) == AnswerBounds(json_schema=ANY)


async def test_compiling_is_shown() -> None:
    gate = Gate()
    replies = [(GrammarProgress(0, 0, 2), gate, GrammarProgress(0, 2, 2), *spoken("{}"))]
    async with opened(engine=bound_engine(*replies)) as driver:
        await driver.send("/json")
        await driver.send("One")
        await gate.reached()
        await driver.until(lambda: "compiling the grammar" in driver.status)
        gate.open()
        await driver.until_state("ready")
        assert "compiling" not in driver.status
