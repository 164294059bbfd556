"""The figures of a turn in words."""

import pytest

from tui_llama.chat import Usage
from tui_llama.conversation import State
from tui_llama.engine.events import PromptEstimate, RereadCause
from tui_llama.turn.meter import TurnMeter


@pytest.fixture
def meter() -> TurnMeter:
    meter = TurnMeter()
    meter.note_model(8192)
    return meter


@pytest.mark.parametrize("state", State)
def test_every_state_has_words(meter: TurnMeter, state: State) -> None:
    assert meter.words(state)


def test_loading_names_the_stage_and_how_far_it_is(meter: TurnMeter) -> None:
    meter.note_load("repack", 45, 100)
    assert meter.words(State.LOADING) == "loading · repack 45 %"
    assert meter.words(State.WAITING) == "your message waits · loading · repack 45 %"


def test_a_stage_without_an_end_is_at_its_beginning(meter: TurnMeter) -> None:
    meter.note_load("compile", 3, 0)
    assert meter.words(State.LOADING) == "loading · compile 0 %"


def test_reading_says_how_long_it_will_take(meter: TurnMeter) -> None:
    meter.note_prompt(200, 200, 5000, now=10.0)
    assert meter.words(State.READING) == "reading 200 / 5,000"
    meter.note_prompt(200, 2600, 5000, now=14.0)
    assert meter.words(State.READING) == "reading 2,600 / 5,000 · 4 s left"
    assert meter.figures(State.READING) == "200 reused"
    assert meter.context() == "2,600 / 8,192"


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "1 s"), (99, "99 s"), (150, "2 min")])
def test_time_left_is_rounded_to_what_matters(meter: TurnMeter, seconds: float, words: str) -> None:
    meter.note_prompt(0, 0, 2000, now=0.0)
    meter.note_prompt(0, 1000, 2000, now=seconds)
    assert meter.words(State.READING).endswith(f"· {words} left")


def test_answering_counts_tokens_and_their_rate(meter: TurnMeter) -> None:
    meter.note_prompt(0, 10, 10, now=0.0)
    for second in range(5):
        meter.note_tokens(1, now=1.0 + second / 2)
    assert meter.figures(State.ANSWERING) == "5 generated · 2.0 tok/s"
    assert meter.context() == "15 / 8,192"


def test_one_token_has_no_rate(meter: TurnMeter) -> None:
    meter.note_tokens(1, now=1.0)
    assert meter.figures(State.ANSWERING) == "1 generated"


def test_the_end_shows_what_the_engine_counted(meter: TurnMeter) -> None:
    meter.note_tokens(1, now=1.0)
    meter.note_usage(Usage(1000, 20, 30, 0.5, 0.2, 1050, 4096))
    assert meter.figures(State.READY) == "1,000 reused · 20 read · 30 generated · 150 tok/s"
    assert meter.context() == "1,050 / 4,096"


def test_an_answer_that_was_stopped_before_its_first_token_has_generated_none(meter: TurnMeter) -> None:
    meter.note_usage(Usage(1000, 20, 0))
    assert meter.figures(State.READY) == "1,000 reused · 20 read · 0 generated"


def test_the_end_tells_how_many_guesses_came_true_when_there_were_any(meter: TurnMeter) -> None:
    meter.note_usage(Usage(0, 20, 30, 0.5, 0.2, 50, 8192, drafted_tokens=1020, accepted_tokens=12))
    assert meter.figures(State.READY).endswith("30 generated · 150 tok/s · 12 of 1,020 guessed")


def test_a_new_turn_forgets_the_last_one(meter: TurnMeter) -> None:
    meter.note_usage(Usage(1, 2, 3, 0.5, 0.2, 6, 8192))
    meter.start_turn()
    assert meter.figures(State.READY) == ""
    assert meter.context() == "6 / 8,192"


def test_another_chat_brings_its_own_figures(meter: TurnMeter) -> None:
    meter.note_usage(Usage(1, 2, 3, 0.5, 0.2, 6, 8192))
    meter.start_chat(None)
    assert meter.context() == "0 / 8,192"
    meter.start_chat(Usage(0, 0, 5, 0.0, 1.0, 77, 8192))
    assert meter.context() == "77 / 8,192"
    assert "5 generated" in meter.figures(State.READY)


def test_without_a_model_there_is_no_context() -> None:
    assert TurnMeter().context() == ""


@pytest.mark.parametrize("cause", RereadCause)
def test_every_cause_of_reading_again_has_words(meter: TurnMeter, cause: RereadCause) -> None:
    meter.note_prompt(200, 200, 5000, 1.0, cause)
    reused, words = meter.figures(State.READING).split(" · ")
    assert reused == "200 reused"
    assert words


def test_the_cause_of_reading_again_stays_until_the_next_turn(meter: TurnMeter) -> None:
    meter.start_turn()
    meter.note_prompt(200, 200, 5000, 1.0, RereadCause.MESSAGE_CHANGED)
    meter.note_tokens(1, 2.0)
    assert meter.figures(State.ANSWERING) == "1 generated · an earlier message was changed"
    meter.note_usage(Usage(reused_tokens=200, read_tokens=4800, generated_tokens=1))
    assert meter.figures(State.READY) == "200 reused · 4,800 read · 1 generated · an earlier message was changed"
    meter.start_turn()
    assert meter.figures(State.READY) == ""


def test_what_is_read_ahead_is_told_while_it_is_read_and_behind_the_rest_once_it_is(meter: TurnMeter) -> None:
    meter.note_usage(Usage(reused_tokens=1, read_tokens=2, generated_tokens=3))
    meter.note_ready(1024, 1747)
    assert meter.figures(State.READY) == "reading ahead 1,024 / 1,747 · 1 reused · 2 read · 3 generated"
    meter.note_ready(1740, 1747)
    assert meter.figures(State.READY) == "1 reused · 2 read · 3 generated · 1,740 ready"
    meter.note_ready(1747, 1747)
    assert meter.figures(State.READY) == "1 reused · 2 read · 3 generated · 1,747 ready"
    assert "ready" not in meter.figures(State.READING)
    meter.start_turn()
    assert meter.figures(State.READY) == ""


def test_what_is_read_ahead_takes_part_of_the_context(meter: TurnMeter) -> None:
    meter.start_chat(None)
    meter.note_ready(1024, 1747)
    assert meter.context() == "1,024 / 8,192"
    meter.start_turn()
    assert meter.context() == "1,024 / 8,192"
    meter.note_prompt(1020, 1020, 1750, 1.0)
    assert meter.context() == "1,020 / 8,192"
    meter.note_ready(1747, 1747)
    meter.start_chat(None)
    assert meter.context() == "0 / 8,192"


@pytest.mark.parametrize(
    ("estimate", "words"),
    [
        (PromptEstimate(4100, 320, 3.2), "keeps 4,100 · reads 320 · about 3 s"),
        (PromptEstimate(0, 9000, 240.0), "keeps 0 · reads 9,000 · about 4 min"),
        (PromptEstimate(12, 5, None), "keeps 12 · reads 5"),
        (PromptEstimate(12, 5, 0.2), "keeps 12 · reads 5"),
    ],
)
def test_a_price_has_its_time_where_that_is_known(estimate: PromptEstimate, words: str) -> None:
    assert TurnMeter.price(estimate) == words


# --- a server's models ---


def test_loading_from_a_server_names_it_and_knows_no_stages(meter: TurnMeter) -> None:
    meter.start_load("home")
    assert meter.words(State.LOADING) == "connecting to home"
    assert meter.words(State.WAITING) == "your message waits · connecting to home"
    meter.note_load("read", 0, 1)
    assert meter.words(State.LOADING) == "home is loading the model"
    meter.start_load()
    assert meter.words(State.LOADING) == "loading"


@pytest.fixture
def served() -> TurnMeter:
    meter = TurnMeter()
    meter.start_load("home")
    meter.note_model(8192)
    return meter


def test_a_server_that_tells_nothing_while_it_reads_is_waited_for(served: TurnMeter) -> None:
    served.start_turn()
    assert (served.words(State.READING), served.figures(State.READING)) == ("waiting for home", "")
    served.note_prompt(200, 600, 1000, now=1.0)
    assert (served.words(State.READING), served.figures(State.READING)) == ("reading 600 / 1,000", "200 cached")


def test_the_time_to_a_servers_first_token_is_known_while_it_answers(served: TurnMeter) -> None:
    served.start_turn()
    served.note_asked(now=1.0)
    assert served.figures(State.ANSWERING) == ""
    served.note_tokens(0, now=1.5)
    served.note_tokens(0, now=9.0)
    assert served.figures(State.ANSWERING) == "0.5 s to first token"
    served.start_turn()
    assert served.figures(State.ANSWERING) == ""


def test_pieces_without_tokens_are_not_counted(served: TurnMeter) -> None:
    served.start_turn()
    for second in range(3):
        served.note_tokens(0, now=float(second))
    assert served.figures(State.ANSWERING) == ""
    assert served.context() == ""


@pytest.mark.parametrize(
    ("usage", "words", "context"),
    [
        (
            Usage(1024, 100, 320, 0.0, 320 / 45, 1444, 0, first_token_seconds=0.4),
            "0.4 s to first token · 45.0 tok/s · 1,024 cached · 320 generated",
            "1,444 / 8,192",
        ),
        (
            Usage(0, 1124, 320, 0.0, 0.0, 1444, 0, first_token_seconds=0.04, knows_reused=False),
            "0.04 s to first token · 320 generated",
            "1,444 / 8,192",
        ),
        (Usage(first_token_seconds=12.2, knows_tokens=False, knows_reused=False), "12 s to first token", ""),
        (Usage(knows_tokens=False, knows_reused=False), "", ""),
        (Usage(0, 12, 0, context_used=12, knows_reused=False), "0 generated", "12 / 8,192"),
    ],
)
def test_of_a_servers_reply_only_what_is_known_is_told(
    served: TurnMeter, usage: Usage, words: str, context: str
) -> None:
    served.start_turn()
    served.note_usage(usage)
    assert served.figures(State.READY) == words
    assert served.context() == context


def test_the_context_of_a_server_that_does_not_tell_its_size_is_not_shown() -> None:
    meter = TurnMeter()
    meter.start_load("home")
    meter.note_model(0)
    meter.note_usage(Usage(0, 10, 5, context_used=15, first_token_seconds=0.4))
    assert meter.context() == ""


def test_a_server_that_does_not_tell_its_size_gets_none_of_another_models_answer() -> None:
    meter = TurnMeter()
    local = Usage(1000, 200, 34, context_used=1234, context_size=8192)
    meter.start_chat(local)
    assert meter.context() == "1,234 / 8,192"  # all that is known while no model is loaded
    meter.start_load("home")
    meter.note_model(0)
    meter.start_chat(local)
    assert meter.context() == ""


def test_what_is_not_known_of_one_answer_is_not_taken_from_the_one_before(served: TurnMeter) -> None:
    served.note_usage(Usage(0, 10, 5, context_used=15, first_token_seconds=0.4))
    assert served.context() == "15 / 8,192"
    served.start_turn()
    served.note_usage(Usage(first_token_seconds=0.4, knows_tokens=False, knows_reused=False))
    assert served.context() == ""


def test_a_chat_whose_last_answer_was_a_servers_shows_the_context_of_the_loaded_model(meter: TurnMeter) -> None:
    meter.start_chat(Usage(context_used=77, context_size=131_072, first_token_seconds=0.4))
    assert meter.context() == "77 / 8,192"
