"""What a template knows of thinking: how its model writes a thought, and how the model is told to think or not."""

from datetime import datetime

import pytest

from tests.engine.templates.thinking_templates import (
    DEEPSEEK_R1,
    GEMMA4,
    HARMONY,
    MISTRAL,
    PLAIN,
    QWEN3,
    SEED_OSS,
    SMOLLM3,
    SOLAR,
    UNKNOWN_FAMILY,
)
from tui_llama.chat import ChatMessage, Role, Thinking
from tui_llama.engine.templates.chat_template import ChatTemplate
from tui_llama.engine.templates.known import KNOWN_TEMPLATES
from tui_llama.engine.templates.thinking.forms import HARMONY as HARMONY_FORM

NOW = datetime(2026, 11, 27, 9, 30)
QUESTION = ChatMessage(Role.USER, "Why?")
ON_OFF = (Thinking.OFF, Thinking.ON)


def opened(source: str) -> ChatTemplate:
    return ChatTemplate(source, "test", bos_text="<s>", eos_text="</s>")


def prompt(source: str, thinking: Thinking, *messages: ChatMessage) -> str:
    template = opened(source)
    switch = template.thinking.switch(thinking)
    return str(template.render(switch.told(messages or (QUESTION,)), now=NOW, values=dict(switch.values)))


@pytest.mark.parametrize(
    ("source", "opening", "ending"),
    [
        (QWEN3, "<think>", "\n</think>\n\n"),
        (DEEPSEEK_R1, "<think>", "\n</think>\n\n"),
        (SMOLLM3, "<think>", "\n</think>\n\n"),
        (MISTRAL, "[THINK]", "[/THINK]"),
        (GEMMA4, "<|channel>thought", "<channel|>"),
        (
            HARMONY,
            "<|channel|>analysis<|message|>",
            "<|end|><|start|>assistant<|channel|>final<|message|>",
        ),
        (SEED_OSS, "<seed:think>", "</seed:think>\n"),
        (SOLAR, "<|think|>", "<|end|><|begin|>assistant<|content|>"),
        (UNKNOWN_FAMILY, "<<ponder>>", "\n<</ponder>>\n"),
    ],
    ids=["qwen3", "r1", "smollm3", "mistral", "gemma4", "harmony", "seed-oss", "solar", "unknown"],
)
def test_a_template_tells_how_its_model_writes_thoughts(source: str, opening: str, ending: str) -> None:
    form = opened(source).thinking.form
    assert form is not None
    assert (form.opening, form.ending) == (opening, ending)


@pytest.mark.parametrize("name", ["plain", *sorted(set(KNOWN_TEMPLATES) - {"gpt-oss"})])
def test_a_template_without_thoughts_has_none(name: str) -> None:
    source = KNOWN_TEMPLATES.get(name, PLAIN)
    assert opened(source).thinking.form is None
    assert opened(source).thinking.choices == ()


def test_gpt_oss_without_a_template_of_its_own_still_thinks_in_its_channel() -> None:
    assert opened(KNOWN_TEMPLATES["gpt-oss"]).thinking.form == HARMONY_FORM


@pytest.mark.parametrize(
    ("source", "choices"),
    [
        (QWEN3, ON_OFF),
        (DEEPSEEK_R1, ()),
        (SMOLLM3, ON_OFF),
        (MISTRAL, ()),
        (GEMMA4, ON_OFF),
        (HARMONY, (Thinking.LOW, Thinking.MEDIUM, Thinking.HIGH)),
        (SEED_OSS, ON_OFF),
        (UNKNOWN_FAMILY, ON_OFF),
    ],
    ids=["qwen3", "r1", "smollm3", "mistral", "gemma4", "harmony", "seed-oss", "unknown"],
)
def test_the_choices_are_those_that_change_the_prompt(source: str, choices: tuple[Thinking, ...]) -> None:
    assert opened(source).thinking.choices == choices


@pytest.mark.parametrize(
    ("source", "thinking", "written"),
    [
        (QWEN3, Thinking.OFF, "assistant\n<think>\n\n</think>\n\n"),
        (SMOLLM3, Thinking.OFF, "assistant\n<think>\n\n</think>\n"),
        (GEMMA4, Thinking.OFF, "model\n<|channel>thought\n<channel|>"),
        (SEED_OSS, Thinking.OFF, "assistant\n<seed:think>\nThe budget is 0.\n</seed:think>"),
        (SEED_OSS, Thinking.ON, "<seed:bos>assistant\n"),
        (UNKNOWN_FAMILY, Thinking.ON, "<|assistant|>"),
        (UNKNOWN_FAMILY, Thinking.OFF, "<|assistant|><<quiet>>"),
        (HARMONY, Thinking.HIGH, "<|start|>assistant"),
    ],
    ids=["qwen3", "smollm3", "gemma4", "seed-oss off", "seed-oss on", "unknown on", "unknown off", "harmony"],
)
def test_a_choice_is_told_as_the_template_wants_it(source: str, thinking: Thinking, written: str) -> None:
    assert prompt(source, thinking).endswith(written)


def test_an_effort_is_told_by_its_name() -> None:
    assert "Reasoning: low" in prompt(HARMONY, Thinking.LOW)
    assert "Reasoning: medium" in prompt(HARMONY, Thinking.DEFAULT)


def test_a_word_for_the_system_prompt_joins_the_one_that_is_there() -> None:
    system = ChatMessage(Role.SYSTEM, "Be brief.")
    template = opened(SMOLLM3)
    told = template.thinking.switch(Thinking.OFF).told((system, QUESTION))
    assert [message.text for message in told] == ["Be brief.\n/no_think", "Why?"]


def test_a_choice_that_the_template_does_not_know_changes_nothing() -> None:
    assert prompt(MISTRAL, Thinking.OFF) == prompt(MISTRAL, Thinking.DEFAULT)
    assert prompt(HARMONY, Thinking.OFF) == prompt(HARMONY, Thinking.DEFAULT)


ANSWERED = ChatMessage(Role.ASSISTANT, "Because.", thought="Let me see.")


@pytest.mark.parametrize(
    ("source", "mark"), [(MISTRAL, "[THINK]"), (UNKNOWN_FAMILY, "<<ponder>>\n")], ids=["mistral", "unknown"]
)
def test_the_thought_of_an_answer_goes_to_the_template_under_the_name_that_it_knows(source: str, mark: str) -> None:
    assert f"{mark}Let me see." in prompt(source, Thinking.DEFAULT, QUESTION, ANSWERED, QUESTION)


@pytest.mark.parametrize("source", [QWEN3, DEEPSEEK_R1, HARMONY, PLAIN], ids=["qwen3", "r1", "harmony", "plain"])
def test_a_template_drops_thoughts_that_it_does_not_want(source: str) -> None:
    written = prompt(source, Thinking.DEFAULT, QUESTION, ANSWERED, QUESTION)
    assert "Let me see." not in written
    assert "Because." in written
