"""What the model is given can be read: for the message that is being written, or as it was for the last answer."""

from tests.fakes.chat_app import Driver, opened, spoken
from tests.fakes.fake_model import FakeModel
from tests.fakes.talk import CHAT, GREEDY, engine_with, never
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.events import PromptEncoded, PromptEstimate, PromptPart
from tui_llama.engine.requests import EstimateRequest, ReplyRequest
from tui_llama.engine.scripted import ScriptedEngine
from tui_llama.engine.templates.chat_template import ChatTemplate
from tui_llama.errors import EngineError
from tui_llama.screens.dialogs.prompt_view import PromptText, PromptView

ONE, TWO = ChatMessage(Role.USER, "one"), ChatMessage(Role.USER, "two")
ANSWER = ChatMessage(Role.ASSISTANT, "a")


def parts(request: EstimateRequest) -> PromptEstimate:
    said = [PromptPart(message.text) for message in request.messages]
    return PromptEstimate(1200, 34, None, (PromptPart("<s>", True), *said, PromptPart("</s>", True)), "model file")


def open_views(driver: Driver) -> list[PromptView]:
    return [screen for screen in driver.app.screen_stack if isinstance(screen, PromptView)]


async def show_prompt(driver: Driver) -> PromptText:
    """As from the list of all commands, which leaves what is written where it is."""
    driver.app.action_show_prompt()
    await driver.until(lambda: open_views(driver) and open_views(driver)[0].query(PromptText))
    return open_views(driver)[0].query_one(PromptText)


async def test_the_prompt_of_the_last_answer_is_shown_as_it_was_fed() -> None:
    async with opened(engine=ScriptedEngine(replies=[spoken("a")], estimate=parts)) as driver:
        await driver.ask("one")
        await driver.send("/prompt")
        await driver.until(lambda: open_views(driver))
        await driver.until(lambda: "<s>one</s>" in driver.screen_text())
        assert "1,234 tokens · 1,200 in the cache · template: model file" in driver.screen_text()
        request = driver.engine.estimate_requests[-1]
        assert (request.messages, request.ledger, request.shows_prompt) == ((ONE,), (), True)
        await driver.pilot.press("escape")
        assert not open_views(driver)


async def test_what_is_written_is_shown_as_it_would_be_sent() -> None:
    async with opened(engine=ScriptedEngine(replies=[spoken("a")], estimate=parts)) as driver:
        await driver.ask("one")
        await driver.write("two")
        assert (await show_prompt(driver)).content.plain == "<s>oneatwo</s>"
        request = driver.engine.estimate_requests[-1]
        assert request.messages == (ONE, ANSWER, TWO)
        assert request.ledger == (1, 2, 3, 10)


async def test_an_edited_message_is_shown_in_its_place() -> None:
    async with opened(engine=ScriptedEngine(replies=[spoken("a"), spoken("b")], estimate=parts)) as driver:
        await driver.ask("one")
        await driver.ask("two")
        await driver.pilot.press("up")
        await driver.write("!")
        assert (await show_prompt(driver)).content.plain == "<s>oneatwo!</s>"


async def test_special_tokens_look_unlike_text_and_text_obeys_nobody() -> None:
    def forged(request: EstimateRequest) -> PromptEstimate:
        return PromptEstimate(1, 2, None, (PromptPart("<s>", True), PromptPart("<s>\x1b[2J")))

    async with opened(engine=ScriptedEngine(replies=[spoken("a")], estimate=forged)) as driver:
        await driver.ask("one")
        content = (await show_prompt(driver)).content
        assert "\x1b" not in content.plain
        assert [(span.start, span.end) for span in content.spans if span.style] == [(0, 3)]


async def test_without_anything_to_show_a_line_says_so() -> None:
    async with opened(engine=ScriptedEngine(estimate=parts)) as driver:
        await driver.until_state("ready")
        await driver.send("/prompt")
        await driver.until_state("There is no prompt yet")
        assert not open_views(driver)
        assert not driver.engine.estimate_requests


async def test_a_prompt_that_cannot_be_made_says_why() -> None:
    def refuse(request: EstimateRequest) -> PromptEstimate:
        raise EngineError("the prompt has 9,000 tokens")

    async with opened(engine=ScriptedEngine(replies=[spoken("a")], estimate=refuse), size=(100, 24)) as driver:
        await driver.ask("one")
        await driver.send("/prompt")
        await driver.until_state("the prompt has 9,000 tokens")
        assert not open_views(driver)
        assert driver.answers == ["a"]


def test_what_is_shown_is_what_is_fed() -> None:
    engine = engine_with(FakeModel())
    messages = (ONE, ChatMessage(Role.ASSISTANT, ""), ChatMessage(Role.USER, "two </s> é"))
    shown = engine.estimate(EstimateRequest(messages, shows_prompt=True))
    assert isinstance(shown, PromptEstimate)
    assert [part.text for part in shown.prompt] == [
        *("<s>", "user:one\n\ntwo </s> é", "</s>"),
        *("<s>", "assistant:"),
    ]
    assert [part.is_special_token for part in shown.prompt] == [True, False, True, True, False]
    events = list(engine.reply(ReplyRequest(1, messages, (), GREEDY, 1, chat_id=CHAT), never))
    (encoded,) = (event for event in events if isinstance(event, PromptEncoded))
    fed = FakeModel().tokenizer.detokenize(encoded.token_ids, special=True)
    assert "".join(part.text for part in shown.prompt) == fed


def test_the_template_that_has_written_it_is_named() -> None:
    refusing = "{{ raise_exception('no') if messages[0].content == 'no' }}{{ messages[0].content }}"
    model = FakeModel()
    model.chat_template = ChatTemplate(refusing, "model file", fallback=ChatTemplate("{{ messages }}", "another"))
    engine = engine_with(model)
    for text, source in (("yes", "model file"), ("no", "another")):
        shown = engine.estimate(EstimateRequest((ChatMessage(Role.USER, text),), shows_prompt=True))
        assert isinstance(shown, PromptEstimate)
        assert shown.template_source == source


async def test_a_long_prompt_is_shown_from_its_end_and_scrolls_to_its_beginning() -> None:
    def long(request: EstimateRequest) -> PromptEstimate:
        lines = "\n".join(f"line {number}" for number in range(5000))
        return PromptEstimate(1, 2, None, (PromptPart("<s>", True), PromptPart(lines), PromptPart("</s>", True)))

    async with opened(engine=ScriptedEngine(replies=[spoken("a")], estimate=long)) as driver:
        await driver.ask("one")
        text = await show_prompt(driver)
        await driver.until(lambda: "line 4999</s>" in driver.screen_text())
        assert "<s>line 0" not in driver.screen_text()
        await driver.pilot.press("home")
        await driver.until(lambda: "<s>line 0" in driver.screen_text())
        assert "line 4999</s>" not in driver.screen_text()
        await driver.pilot.resize_terminal(30, 24)
        await driver.until(lambda: driver.app.size.width == 30 and "<s>line 0" in driver.screen_text())
        assert text.scroll_offset.y == 0
