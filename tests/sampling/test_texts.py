"""The texts in the settings of sampling: samplers, sequence breakers, biases."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_llama.errors import SettingsError
from tui_llama.sampling.texts import (
    BREAKERS_FORM,
    LETTERS,
    USUAL_SAMPLERS,
    TokenBias,
    biases_text,
    breakers_text,
    read_biases,
    read_breakers,
    read_samplers,
    samplers_text,
)
from tui_llama.settings import SETTINGS, Settings


def test_the_usual_order_is_that_of_llama_cpp() -> None:
    order = "penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature"
    assert Settings().sampling.samplers == samplers_text(USUAL_SAMPLERS) == order


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("top_k;temperature", ("top_k", "temperature")),
        (" Top-K , topp;NUCLEUS;typ;typical_p;temp ", ("top_k", "top_p", "top_p", "typ_p", "typ_p", "temperature")),
        ("edskypmxta", (*USUAL_SAMPLERS, "adaptive_p")),
        ("kkt", ("top_k", "top_k", "temperature")),
        ("", ()),
    ],
)
def test_samplers_are_read_by_their_names_or_letters(text: str, expected: tuple[str, ...]) -> None:
    assert read_samplers(text) == expected


@pytest.mark.parametrize("text", ["top_q", "infill", "top_k;infill", "kiz", ";".join(["top_k"] * 33)])
def test_unknown_or_too_many_samplers_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="sampler"):
        SETTINGS["sampling.samplers"].check(text, "samplers")


def test_the_usual_breakers_are_those_of_llama_cpp() -> None:
    assert read_breakers(Settings().sampling.dry_sequence_breakers) == ("\n", ":", '"', "*")


@given(st.lists(st.text(st.sampled_from('ab \n\t\r\\"*:s'), min_size=1, max_size=5), max_size=5))
def test_breakers_are_read_as_they_were_written(breakers: list[str]) -> None:
    assert read_breakers(breakers_text(breakers)) == tuple(breakers)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((r"\n", " and ", "a\\b"), ("\n", " and ", "a\\b")),
        (("none",), ()),
        (("None",), ()),
        ((r"\\",), ("\\",)),
    ],
)
def test_each_option_is_one_breaker(options: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert BREAKERS_FORM.join is not None
    assert read_breakers(BREAKERS_FORM.join(options)) == expected


@pytest.mark.parametrize("text", [r"\q", "\\", " ".join("x" * 33)])
def test_breakers_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        SETTINGS["sampling.dry_sequence_breakers"].check(text, "breakers")


def test_biases_are_of_tokens_and_of_texts() -> None:
    text = r'15043+1 29905-inf, "a \"b\" "-2.5e-1,7+.5'
    assert read_biases(text) == ((15043, 1.0), (29905, -math.inf), ('a "b" ', -0.25), (7, 0.5))


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**9 - 1) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
            st.floats(-1e30, 1e30, allow_nan=False) | st.just(-math.inf),
        ).map(lambda pair: TokenBias(*pair)),
        max_size=5,
    )
)
def test_biases_are_read_as_they_were_written(biases: list[TokenBias]) -> None:
    assert read_biases(biases_text(biases)) == tuple(biases)


@pytest.mark.parametrize(
    "text", ["15043", "x+1", "15043+", "1+inf", "1+1.5.2", '"a+1', "1+nan", "1234567890+1", "1+1x", '"\\q"+1']
)
def test_biases_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        SETTINGS["sampling.logit_bias"].check(text, "bias")


def test_every_sampler_has_a_letter_of_its_own() -> None:
    assert len(set(LETTERS.values())) == len(LETTERS) == 10
