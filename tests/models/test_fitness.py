"""Whether a model fits into memory and about how fast it writes."""

from dataclasses import dataclass

import msgspec
import pytest

from tui_llama.engine.machine.free_memory import OVERHEAD_BYTES
from tui_llama.engine.requests import CACHE_TYPES
from tui_llama.models.fitness import Fit, cache_bytes, judge
from tui_llama.models.machine import Machine

GB = 10**9
MACHINE = Machine("a processor", 4, 16 * GB, 8 * GB, 20e9)


@dataclass(frozen=True)
class Model:
    """What has to be known of one."""

    weight_bytes: int = 2 * GB
    expert_bytes: int = 0
    bytes_read_per_token: int = GB
    key_value_bytes_per_token: int = 100_000
    window_bytes_per_token: int = 0
    window_positions: int = 0
    layer_count: int = 25
    trained_context_size: int = 32_768


def test_a_model_needs_its_weights_its_context_and_a_little_more() -> None:
    fit = judge(Model(), MACHINE, context_size=1000)
    assert fit.needed_bytes == 2 * GB + 100_000 * 1000 + OVERHEAD_BYTES


def test_without_a_context_asked_for_it_is_the_models_own_up_to_8192() -> None:
    assert judge(Model(trained_context_size=512), MACHINE) == judge(Model(), MACHINE, context_size=512)
    assert judge(Model(), MACHINE) == judge(Model(), MACHINE, context_size=8192)


def test_more_context_than_the_model_was_trained_for_counts_as_asked() -> None:
    fit = judge(Model(trained_context_size=512), MACHINE, context_size=2048)
    assert fit.needed_bytes == 2 * GB + 100_000 * 2048 + OVERHEAD_BYTES


def test_keys_and_values_in_eight_bits_take_about_half() -> None:
    fit = judge(Model(), MACHINE, context_size=6400, cache_type="q8_0")
    assert fit.needed_bytes == 2 * GB + 340_000_000 + OVERHEAD_BYTES


def test_layers_with_a_window_keep_no_more_tokens_however_long_the_context_is() -> None:
    model = Model(window_bytes_per_token=80_000, window_positions=2048)
    assert cache_bytes(model, 1000, "f16") == 100_000 * 1000
    assert cache_bytes(model, 32_768, "f16") == 20_000 * 32_768 + 80_000 * 2048


@pytest.mark.parametrize("cache_type", CACHE_TYPES)
def test_every_type_of_keys_and_values_is_known(cache_type: str) -> None:
    assert judge(Model(), MACHINE, cache_type=cache_type).needed_bytes > 2 * GB


def test_a_model_that_takes_all_that_is_free_fits_and_one_byte_more_does_not() -> None:
    needed_bytes = judge(Model(), MACHINE).needed_bytes
    just_enough = msgspec.structs.replace(MACHINE, free_bytes=needed_bytes)
    too_little = msgspec.structs.replace(MACHINE, free_bytes=needed_bytes - 1)
    assert judge(Model(), just_enough).fits
    assert not judge(Model(), too_little).fits


def test_a_model_is_taken_to_fit_where_nobody_knows_the_memory() -> None:
    fit = judge(Model(), msgspec.structs.replace(MACHINE, free_bytes=None))
    assert (fit.fits, fit.refusal) == (True, "")


def test_nothing_fits_where_nothing_is_free() -> None:
    fit = judge(Model(), msgspec.structs.replace(MACHINE, free_bytes=0))
    assert not fit.fits
    assert fit.refusal.endswith(", 0 kB free")


def test_a_model_that_does_not_fit_says_what_it_needs_and_what_there_is() -> None:
    assert Fit(9_100_000_000, 6 * GB, 0.0).refusal == "needs 9.1 GB, 6.0 GB free"
    assert Fit(6 * GB, 9_100_000_000, 0.0).refusal == ""


def test_experts_that_do_not_fit_stay_in_the_file_which_is_slow() -> None:
    mixture = Model(weight_bytes=12 * GB, expert_bytes=10 * GB)
    fit = judge(mixture, MACHINE)
    assert fit.fits
    assert fit.refusal == ""
    assert fit.lacking_bytes == fit.needed_bytes - 8 * GB
    assert fit.speed_words == "slow: 5.1 GB stay in the file"
    assert fit.tokens_per_second == 0
    enough = judge(mixture, msgspec.structs.replace(MACHINE, free_bytes=14 * GB))
    assert enough.lacking_bytes == 0
    assert enough.speed_words.startswith("about")


def test_a_mixture_does_not_fit_if_even_the_rest_of_it_does_not() -> None:
    fit = judge(Model(weight_bytes=20 * GB, expert_bytes=10 * GB), MACHINE)
    assert not fit.fits
    assert fit.refusal == "needs 11.1 GB, 8.0 GB free"


def test_the_speed_is_how_often_the_weights_can_be_read() -> None:
    # 1 GB at nine tenths of 20 GB/s, and 25 layers of 60 µs.
    assert judge(Model(), MACHINE).tokens_per_second == pytest.approx(1 / (1 / 18 + 25 * 60e-6))


def test_the_speed_is_unknown_where_it_was_not_measured_or_nothing_is_read() -> None:
    unmeasured = msgspec.structs.replace(MACHINE, read_bytes_per_second=0.0)
    assert judge(Model(), unmeasured).speed_words == ""
    assert judge(Model(bytes_read_per_token=0), MACHINE).speed_words == ""


@pytest.mark.parametrize(
    ("tokens_per_second", "words"),
    [(14.2, "about 14 tok/s"), (9.5, "about 10 tok/s"), (9.44, "about 9.4 tok/s"), (0.31, "about 0.3 tok/s")],
)
def test_the_speed_has_two_digits_that_mean_something(tokens_per_second: float, words: str) -> None:
    assert Fit(0, 0, tokens_per_second).speed_words == words
