"""What may follow `/set`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_llama.controllers.choosing.set_argument import (
    DEFAULT,
    SAMPLING_SETTINGS,
    read_set_argument,
    sampling_choices,
    shown_value,
    with_choice,
)
from tui_llama.errors import SettingsError
from tui_llama.sampling.settings import SamplingSettings


@pytest.mark.parametrize(
    ("argument", "name", "value"),
    [
        ("temperature 0.2", "temperature", 0.2),
        ("temp 1", "temperature", 1.0),
        ("TOP-K = 5", "top_k", 5),
        ("top_k=5", "top_k", 5),
        ("parameter repeat_last_n 8", "penalty_last_n", 8),
        ("seed -1", "seed", None),
        ("presence_penalty -0.5", "presence_penalty", -0.5),
        ("min_p Default", "min_p", DEFAULT),
        (r"dry_sequence_breaker \n END\sOF", "dry_sequence_breakers", r"\n END\sOF"),
        ("samplers = top_k;temperature", "samplers", "top_k;temperature"),
        ('logit_bias 5+1 "a b"-inf', "logit_bias", '5+1 "a b"-inf'),
    ],
)
def test_a_setting_is_found_by_its_names_with_its_value(argument: str, name: str, value: object) -> None:
    setting, read = read_set_argument(argument)
    assert (setting.key, read) == (name, value)
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("temprature 1", "Did you mean temperature"),
        ("xyz 1", "/set lists them"),
        ("temperature", "needs a value"),
        ("temperature warm", "not a number"),
        ("temperature -1", "from 0"),
        ("temperature nan", "not allowed"),
        ("top_p 1.5", "to 1"),
        ("top_k 1.5", "whole number"),
        ("seed -2", "or -1"),
        ("---", "no sampling setting"),
        ("samplers top_k;top_q", "there is no sampler 'top_q'"),
        ("logit_bias hello", "is no bias of a token"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(argument: str, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_set_argument(argument)
    assert told in f"{refused.value}. {refused.value.hint}"


@given(st.text())
def test_any_text_is_read_or_refused(argument: str) -> None:
    try:
        setting, _value = read_set_argument(argument)
    except SettingsError:
        return
    assert setting.key in SamplingSettings.__struct_fields__


def test_choices_stay_in_the_order_of_the_settings_and_can_be_taken_back() -> None:
    chosen = with_choice({"top_p": 0.5}, SAMPLING_SETTINGS["temp"], 0.1)
    assert list(chosen.items()) == [("temperature", 0.1), ("top_p", 0.5)]
    assert with_choice(chosen, SAMPLING_SETTINGS["temp"], DEFAULT) == {"top_p": 0.5}


def test_all_settings_are_suggested_once() -> None:
    assert [choice.value.strip() for choice in sampling_choices("")] == list(SamplingSettings.__struct_fields__)


def test_values_are_shown_as_people_write_them() -> None:
    assert [shown_value(value) for value in (0.8, 1.0, 40, None)] == ["0.8", "1", "40", "random"]
