"""Who decides how the next token is chosen: the user, then the file, then the catalogue, then the program."""

import msgspec
import pytest

from tui_llama.chosen_sampling import ChosenSampling, SamplingSource, choose_sampling
from tui_llama.engine.descriptions import ModelFacts, ModelInfo
from tui_llama.models.catalogue import CatalogueEntry, load_catalogue
from tui_llama.models.starter.file import STARTER_FILE
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.settings import Settings

STARTER = f"/models/{STARTER_FILE}"
UNKNOWN = "/models/nobody-knows-it.gguf"
CHAT, USER, FILE, CATALOGUE, PROGRAM = SamplingSource


def chosen(path: str = UNKNOWN, **advice: float) -> ChosenSampling:
    """The decision for a model whose file recommends this, where the user has set nothing."""
    return choose_sampling(Settings(), ModelFacts(path, sampling=advice))


def chosen_beside(settings: Settings, **advice: float) -> ChosenSampling:
    """The decision for the starter, whose file would recommend this."""
    return choose_sampling(settings, ModelFacts(STARTER, sampling=advice))


def set_by_user(**values: float) -> Settings:
    """Settings of which the user has given these."""
    sampling = msgspec.convert(values, SamplingSettings)
    return Settings(sampling=sampling, given=frozenset(f"sampling.{name}" for name in values))


def sources_of(decision: ChosenSampling, *names: str) -> list[SamplingSource]:
    return [decision.sources[name] for name in names]


# --- the order


def test_without_a_model_the_programs_defaults_hold() -> None:
    decision = choose_sampling(Settings(), None)
    assert decision.sampling == SamplingSettings()
    assert set(decision.sources.values()) == {PROGRAM}


def test_a_model_that_nobody_knows_and_that_recommends_nothing_has_the_defaults() -> None:
    assert chosen() == choose_sampling(Settings(), None)


def test_every_field_has_a_source() -> None:
    assert list(chosen(STARTER).sources) == list(SamplingSettings.__struct_fields__)


def test_a_servers_model_has_the_users_settings_alone_whatever_it_is_called() -> None:
    settings = set_by_user(temperature=0.3)
    of_server = ModelFacts(f"http://127.0.0.1:8080/v1#/models/{STARTER_FILE}", sampling={"top_k": 7})
    decision = choose_sampling(settings, of_server)
    assert decision.sampling == SamplingSettings(temperature=0.3)
    assert set(decision.sources.values()) == {USER, PROGRAM}


def test_the_catalogue_goes_before_the_program() -> None:
    decision = chosen(STARTER)
    assert (decision.sampling.temperature, decision.sampling.top_p) == (0.2, 0.9)
    assert sources_of(decision, "temperature", "top_p") == [CATALOGUE, CATALOGUE]


def test_the_file_goes_before_the_catalogue() -> None:
    decision = chosen(STARTER, temperature=0.6)
    assert (decision.sampling.temperature, decision.sources["temperature"]) == (0.6, FILE)


def test_the_user_goes_before_the_file() -> None:
    decision = chosen_beside(set_by_user(temperature=1.5), temperature=0.6)
    assert (decision.sampling.temperature, decision.sources["temperature"]) == (1.5, USER)


def test_what_the_user_set_to_the_default_is_still_the_users() -> None:
    default = SamplingSettings().temperature
    decision = chosen_beside(set_by_user(temperature=default), temperature=0.6)
    assert (decision.sampling.temperature, decision.sources["temperature"]) == (default, USER)


def test_each_field_is_decided_for_itself() -> None:
    decision = chosen_beside(set_by_user(min_p=0.01), temperature=0.6)
    assert decision.sampling == SamplingSettings(temperature=0.6, top_p=0.9, min_p=0.01)
    assert sources_of(decision, "min_p", "temperature", "top_p", "top_k") == [USER, FILE, CATALOGUE, PROGRAM]


def test_a_loaded_model_is_decided_for_like_its_file() -> None:
    info = ModelInfo(
        name="", path=STARTER, architecture="llama", quantization="Q4_1", parameter_count=1, weight_bytes=1,
        vocab_size=1, context_size=1, trained_context_size=1, key_value_bytes_per_token=1, template_source="",
        sampling={"top_k": 5},
    )  # fmt: skip
    assert choose_sampling(Settings(), info) == chosen(STARTER, top_k=5)


def test_a_model_without_a_name_of_its_file_is_known_by_what_it_says() -> None:
    facts = ModelFacts("/blobs/sha256-" + "0123456789abcdef" * 4, name="SmolLM2 135M Instruct")
    assert choose_sampling(Settings(), facts).sources["temperature"] is CATALOGUE


@pytest.mark.parametrize("entry", load_catalogue(), ids=lambda entry: entry.name)
def test_all_that_the_catalogue_recommends_is_used(entry: CatalogueEntry) -> None:
    decision, recommended = chosen(f"/models/{entry.file}"), entry.sampling.given()
    assert {name: getattr(decision.sampling, name) for name in recommended} == recommended
    assert {name for name, source in decision.sources.items() if source is CATALOGUE} == set(recommended)


# --- what makes no sense


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("temperature", -0.1), ("temperature", float("nan")), ("temperature", float("inf"))),
        *(("top_k", -1), ("top_k", 2.5), ("top_k", 2**40), ("top_p", 1.1), ("top_p", -0.1), ("min_p", 2)),
        *(("repeat_penalty", 0.0), ("penalty_last_n", -1)),
    ],
)
def test_a_value_out_of_range_is_passed_over(name: str, value: float) -> None:
    decision = chosen(UNKNOWN, **{name: value})
    assert decision == chosen(UNKNOWN)


def test_where_the_file_makes_no_sense_the_catalogue_is_asked() -> None:
    decision = chosen(STARTER, temperature=-1.0)
    assert (decision.sampling.temperature, decision.sources["temperature"]) == (0.2, CATALOGUE)


def test_a_recommendation_that_is_no_field_is_passed_over() -> None:
    assert chosen(UNKNOWN, tail_free=2.0) == chosen(UNKNOWN)


# --- types


def test_a_whole_number_that_comes_as_a_float_becomes_one() -> None:
    decision = chosen(UNKNOWN, top_k=20.0, penalty_last_n=64.0)
    assert [type(value) for value in (decision.sampling.top_k, decision.sampling.penalty_last_n)] == [int, int]
    assert (decision.sampling.top_k, decision.sources["top_k"]) == (20, FILE)


def test_a_float_that_comes_as_a_whole_number_becomes_one() -> None:
    decision = chosen(UNKNOWN, temperature=1, top_p=1)
    assert [type(value) for value in (decision.sampling.temperature, decision.sampling.top_p)] == [float, float]


@pytest.mark.parametrize("name", ["temperature", "top_k", "min_p", "penalty_last_n"])
def test_zero_is_a_value(name: str) -> None:
    decision = chosen(UNKNOWN, **{name: 0})
    assert (getattr(decision.sampling, name), decision.sources[name]) == (0, FILE)


# --- one chat


def test_what_was_chosen_for_a_chat_counts_before_all_else() -> None:
    settings = Settings(
        sampling=SamplingSettings(top_k=9, seed=3), given=frozenset({"sampling.top_k", "sampling.seed"})
    )
    decision = choose_sampling(settings, ModelFacts(UNKNOWN, sampling={"top_k": 20}), {"top_k": 5, "seed": None})
    assert (decision.sampling.top_k, decision.sampling.seed) == (5, None)
    assert sources_of(decision, "top_k", "seed", "temperature") == [CHAT, CHAT, PROGRAM]
