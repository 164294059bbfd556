"""What an answer has cost is what the server tells, and what it does not tell is not made up."""

import math
from typing import Any

import pytest

from tui_llama.chat import Usage
from tui_llama.engine.remote.stream.usage_meter import UsageMeter

USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 60}}
TIMINGS = {"cache_n": 60, "prompt_n": 40, "predicted_n": 20, "prompt_ms": 500, "predicted_ms": 2000}


def measured(usage: Any = None, timings: Any = None, token_moments: tuple[float, ...] = (3.0, 4.0, 7.0)) -> Usage:
    moments = iter((1.0, 2.0, *token_moments))
    meter = UsageMeter(4096, lambda: next(moments))
    meter.note_request()
    for _ in token_moments:
        meter.note_token()
    meter.note_report(usage, timings)
    meter.note_report(None, None)
    return meter.usage()


def test_a_thought_takes_the_time_up_to_the_text_behind_it() -> None:
    moments = iter((1.0, 2.0, 3.0, 4.0, 6.0, 9.0))
    meter = UsageMeter(4096, lambda: next(moments))
    meter.note_request()
    meter.note_token(is_thought=True)
    meter.note_token()
    assert meter.usage().thought_seconds == 1.0
    meter.note_token(is_text=True)
    meter.note_token(is_text=True)
    meter.note_report({**USAGE, "completion_tokens_details": {"reasoning_tokens": 15}}, None)
    assert (meter.usage().thought_seconds, meter.usage().thought_tokens) == (3.0, 15)


@pytest.mark.parametrize(
    ("told", "tokens"),
    [
        ({"reasoning_tokens": 7}, 7),
        ({"completion_tokens_details": {"reasoning_tokens": 7}}, 7),
        ({"reasoning_tokens": 700}, 20),
        ({"reasoning_tokens": "x", "completion_tokens_details": None}, 0),
        ({}, 0),
    ],
)
def test_the_tokens_of_a_thought_are_told_by_two_names(told: Any, tokens: int) -> None:
    assert measured({**USAGE, **told}).thought_tokens == tokens
    assert measured({"reasoning_tokens": 7}).thought_tokens == 0


def test_usage_and_timings_are_told() -> None:
    assert measured(USAGE, {**TIMINGS, "draft_n": 9, "draft_n_accepted": 5}) == Usage(
        reused_tokens=60,
        read_tokens=40,
        generated_tokens=20,
        read_seconds=0.5,
        generate_seconds=2.0,
        context_used=120,
        context_size=4096,
        drafted_tokens=9,
        accepted_tokens=5,
        first_token_seconds=1.0,
    )


def test_without_timings_the_time_from_the_first_to_the_last_token_counts() -> None:
    usage = measured(USAGE)
    assert (usage.read_seconds, usage.generate_seconds, usage.first_token_seconds) == (0.0, 4.0, 1.0)


def test_timings_alone_are_enough() -> None:
    usage = measured(None, TIMINGS)
    assert (usage.reused_tokens, usage.read_tokens, usage.generated_tokens, usage.context_used) == (60, 40, 20, 120)
    assert usage.knows_tokens
    assert usage.knows_reused


def test_what_a_server_does_not_tell_of_its_cache_is_unknown() -> None:
    usage = measured({"prompt_tokens": 100, "completion_tokens": 20})
    assert (usage.reused_tokens, usage.read_tokens, usage.knows_tokens, usage.knows_reused) == (0, 100, True, False)


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": 5}, {"prompt_tokens": "5", "completion_tokens": -1}])
def test_without_counts_nothing_is_known(usage: Any) -> None:
    found = measured(usage)
    assert (found.reused_tokens, found.read_tokens, found.generated_tokens, found.context_used) == (0, 0, 0, 0)
    assert not found.knows_tokens
    assert not found.knows_reused


def test_without_a_token_there_is_no_first_one() -> None:
    usage = measured(token_moments=())
    assert usage.first_token_seconds is None
    assert usage.generate_seconds == 0.0


@pytest.mark.parametrize("odd", [math.nan, math.inf, -5, "x", True, 10**400, 1e300, None, []])
def test_odd_times_are_not_taken(odd: Any) -> None:
    assert measured(USAGE, {**TIMINGS, "predicted_ms": odd}).generate_seconds == 4.0


def test_more_cached_tokens_than_there_are_is_not_believed() -> None:
    usage = measured({**USAGE, "prompt_tokens_details": {"cached_tokens": 10**6}})
    assert (usage.reused_tokens, usage.read_tokens) == (100, 0)
