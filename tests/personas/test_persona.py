"""The form of a persona in TOML: what is written is read again, and what makes no sense is one line."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_llama.chat import Thinking
from tui_llama.declarations import Range, TextForm, Value
from tui_llama.errors import SettingsError
from tui_llama.personas.persona import Persona, persona_toml, read_persona
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.settings import SETTINGS

SAMPLING_TEXTS = {
    "samplers": ("", "top_k;temperature", "kt"),
    "dry_sequence_breakers": ("none", r'\n : " *', r"END\sOF \\"),
    "logit_bias": ("", '15043+1 "say \\"no\\" 🦙"-inf'),
}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@st.composite
def samplings(draw: st.DrawFn) -> dict[str, Value]:
    chosen: dict[str, Value] = {}
    for name in draw(st.sets(st.sampled_from(SamplingSettings.__struct_fields__))):
        setting = SETTINGS[f"sampling.{name}"]
        allowed = setting.range
        if isinstance(allowed, TextForm):
            chosen[name] = draw(st.sampled_from(SAMPLING_TEXTS[name]))
            continue
        if allowed is None:
            allowed = Range()
        assert isinstance(allowed, Range)
        low, high = max(allowed.minimum, -(2.0**40)), min(allowed.maximum, 2.0**40)
        if setting.kind is int:
            chosen[name] = draw(st.integers(int(low), int(high)))
        else:
            chosen[name] = draw(st.floats(low, high).filter(allowed.__contains__))
    if "seed" in chosen and draw(st.booleans()):
        chosen["seed"] = None
    return chosen


@given(
    st.builds(
        Persona,
        name=st.just("some"),
        description=TEXTS,
        system_prompt=st.none() | TEXTS,
        sampling=samplings(),
        model=TEXTS,
        thinking=st.none() | st.sampled_from(Thinking),
        thinking_tokens=st.none() | st.integers(0, 2**31 - 1),
        reply_start=TEXTS,
    )
)
def test_what_is_written_is_read_again(persona: Persona) -> None:
    assert read_persona("some", persona_toml(persona)) == persona


@given(st.text(alphabet=string.printable + "é\x00\u2028"))
def test_any_text_is_a_persona_or_a_line(text: str) -> None:
    try:
        read_persona("some", text)
    except SettingsError as error:
        assert "\n" not in str(error)


@given(st.recursive(st.none() | st.integers() | TEXTS, lambda inner: st.lists(inner, max_size=3), max_leaves=4))
def test_a_value_of_any_kind_is_taken_or_refused(value: object) -> None:
    for key in ("description", "thinking", "thinking_tokens", "sampling", "sampling.temperature", "x"):
        try:
            read_persona("some", f"{key} = {toml(value)}")
        except SettingsError as error:
            assert "\n" not in str(error)


def toml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return "true" if value is None else str(value) if isinstance(value, int) else repr(str(value))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sytem_prompt = 'x'", "unknown key sytem_prompt; did you mean system_prompt?"),
        ("[sampling]\ntemprature = 1", "unknown key sampling.temprature; did you mean temperature?"),
        ("[sampling]\ntemperature = -1", "sampling.temperature: -1"),
        ("[sampling]\ntemperature = nan", "is not allowed"),
        ("sampling = 3", "sampling is not a section"),
        ("thinking = 'hard'", "thinking must be one of"),
        ("thinking = true", "thinking must be one of"),
        ("thinking_tokens = true", "thinking_tokens must be"),
        ("thinking_tokens = -1", "thinking_tokens must be"),
        ("reply_start = 3", "reply_start is not text"),
        ("system_prompt = ", "not valid TOML"),
        ("a = " + "[" * 5000, "not valid TOML"),
    ],
)
def test_what_makes_no_sense_is_named(text: str, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_persona("some", text)
    assert told in str(refused.value)


def test_a_prompt_of_several_lines_is_written_as_lines() -> None:
    text = persona_toml(Persona("some", system_prompt='One "line".\nAnother \\ one.'))
    assert text.splitlines()[1:3] == ['One \\"line\\".', 'Another \\\\ one."""']


def test_the_choices_of_a_chat_are_all_that_the_persona_chooses() -> None:
    choices = Persona("some", sampling={"top_k": 3}, thinking=Thinking.OFF, reply_start="Well").choices()
    assert (choices.sampling, choices.thinking, choices.reply_start, choices.persona) == (
        {"top_k": 3},
        Thinking.OFF,
        "Well",
        "some",
    )
