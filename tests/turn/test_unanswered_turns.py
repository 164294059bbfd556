"""A turn that was never answered does not end the chat: the next message is answered, whatever the template demands."""

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from tests.fakes.chat_app import MODEL, Driver, opened
from tests.fakes.fake_model import FakeModel, answering, byte_tokenizer
from tests.fakes.talk import engine_with, never
from tui_llama.engine.events import Failed, ModelLoaded, PromptEncoded, PromptEstimate
from tui_llama.engine.requests import CompleteRequest, EstimateRequest, ReplyRequest
from tui_llama.engine.scripted import Gate, Loss, ScriptedEngine, Step, demo_model
from tui_llama.engine.templates.chat_template import ChatTemplate
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.settings import Settings

BY_TURNS = """\
{%- for m in messages %}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}
{%- if not m.content %}{{ raise_exception('A message is empty') }}{% endif %}
{{- '<s>' + m.role + ':' + m.content + '</s>' }}
{%- endfor %}<s>assistant:"""

GREEDY = replace(
    Settings(),
    theme="llama-dusk",
    sampling=SamplingSettings(temperature=0.0),
    given=frozenset({"sampling.temperature"}),
)


class Troubled:
    """An engine that computes its answers, but first meets with troubles, one for each turn."""

    def __init__(self, *troubles: Iterable[Step], load: Iterable[Step] = ()) -> None:
        model = FakeModel(answering("yes"), context_size=4000)
        model.chat_template = ChatTemplate(BY_TURNS, "test")
        self._local = engine_with(model)
        self._troubles = list(troubles)
        self.scripted = ScriptedEngine(
            load=[*load, ModelLoaded(demo_model(MODEL))], replies=self._reply, estimate=self._estimate
        )

    def _reply(self, request: ReplyRequest | CompleteRequest) -> Iterable[Step]:
        return self._troubles.pop(0) if self._troubles else self._local.reply(request, never)

    def _estimate(self, request: EstimateRequest) -> PromptEstimate:
        estimate = self._local.estimate(request)
        assert isinstance(estimate, PromptEstimate), estimate
        return estimate


async def prompt_of(driver: Driver) -> str:
    """What the last answer's model was given."""
    prompt = await driver.app.turn_driver.questions.prompt("", None)
    assert prompt is not None
    return "".join(part.text for part in prompt.prompt)


async def test_a_message_that_was_taken_back_while_the_model_loaded() -> None:
    gate = Gate()
    async with opened(settings=GREEDY, engine=Troubled(load=[gate]).scripted, until_ready=False) as driver:
        await driver.until_state("loading")
        await driver.send("one")
        await driver.pilot.press("escape")
        await driver.send("two")
        await driver.until_state("your message waits")
        gate.open()
        await driver.until(lambda: driver.answers == ["yes"])
        await driver.until_state("ready")
        await driver.ask("three")
        assert driver.answers == ["yes", "yes"]
        prompt = "<s>user:one\n\ntwo</s><s>assistant:yes</s><s>user:three</s><s>assistant:"
        assert await prompt_of(driver) == prompt


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_answers_that_were_stopped_before_their_first_word(count: int) -> None:
    gates = [Gate() for _ in range(count)]
    async with opened(settings=GREEDY, engine=Troubled(*([gate] for gate in gates)).scripted) as driver:
        for number, gate in enumerate(gates):
            await driver.send(f"message {number}")
            await gate.reached()
            await driver.pilot.press("escape")
            await driver.until_state("ready")
        await driver.send("and now?")
        await driver.until(lambda: driver.answers[-1:] == ["yes"])
        await driver.until_state("ready")
        said = "\n\n".join([*(f"message {number}" for number in range(count)), "and now?"])
        assert await prompt_of(driver) == f"<s>user:{said}</s><s>assistant:"


@pytest.mark.parametrize("trouble", [Failed(1, "out of memory"), Loss()], ids=["failed", "lost"])
async def test_turns_that_failed(trouble: Step) -> None:
    async with opened(settings=GREEDY, engine=Troubled([trouble]).scripted) as driver:
        await driver.send("one")
        await driver.until(lambda: any("failed" in note for note in driver.notes))
        await driver.send("two")
        await driver.until(lambda: driver.answers[-1:] == ["yes"])
        await driver.until_state("ready")
        assert await prompt_of(driver) == "<s>user:one\n\ntwo</s><s>assistant:"


async def test_such_a_chat_goes_on_when_it_is_opened_again() -> None:
    async with opened(settings=GREEDY, engine=Troubled([Failed(1, "out of memory")]).scripted) as driver:
        await driver.send("one")
        await driver.until(lambda: any("failed" in note for note in driver.notes))
        await driver.send("/new")
        await driver.until(lambda: not driver.questions)
        await driver.pilot.press("ctrl+pagedown")
        await driver.until(lambda: driver.questions)
        await driver.until_state("ready")
        await driver.send("two")
        await driver.until(lambda: driver.answers[-1:] == ["yes"])
        await driver.until_state("ready")
        assert await prompt_of(driver) == "<s>user:one\n\ntwo</s><s>assistant:"


async def test_an_earlier_message_can_be_edited_after_one_that_was_not_answered() -> None:
    async with opened(settings=GREEDY, engine=Troubled([Failed(1, "out of memory")]).scripted) as driver:
        await driver.send("one")
        await driver.until(lambda: any("failed" in note for note in driver.notes))
        await driver.send("two")
        await driver.until(lambda: driver.answers[-1:] == ["yes"])
        await driver.until_state("ready")
        await driver.pilot.press("up")
        await driver.write(" and a half")
        await driver.until_state("reads")
        await driver.pilot.press("enter")
        await driver.until(lambda: any("version 2 of 2" in question for question in driver.questions))
        await driver.until_state("ready")
        assert await prompt_of(driver) == "<s>user:one\n\ntwo and a half</s><s>assistant:"


async def test_an_answer_that_never_began_can_be_asked_for_again() -> None:
    gate = Gate()
    async with opened(settings=GREEDY, engine=Troubled([gate]).scripted) as driver:
        await driver.send("one")
        await gate.reached()
        await driver.pilot.press("escape")
        await driver.until_state("ready")
        await driver.pilot.press("ctrl+r")
        await driver.until(lambda: driver.answers == ["yes"])
        await driver.until_state("ready")
        assert await prompt_of(driver) == "<s>user:one</s><s>assistant:"


async def test_an_answer_that_never_began_can_go_on() -> None:
    gate = Gate()
    prompt = "<s>user:zero\n\none</s><s>assistant:"
    read: list[Step] = [PromptEncoded(1, 0, tuple(byte_tokenizer().tokenize(prompt, parse_special=True))), gate]
    async with opened(settings=GREEDY, engine=Troubled([Failed(1, "out of memory")], read).scripted) as driver:
        await driver.send("zero")
        await driver.until(lambda: any("failed" in note for note in driver.notes))
        await driver.send("one")
        await gate.reached()
        await driver.pilot.press("escape")
        await driver.until_state("ready")
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers[-1:] == ["yes"])
        await driver.until_state("ready")
        assert await prompt_of(driver) == prompt
        await driver.ask("two")
        assert driver.answers[-1] == "yes"
