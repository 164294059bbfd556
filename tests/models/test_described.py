"""What lists say of a model file, and which models of the catalogue are left to fetch."""

from pathlib import Path

import msgspec
import pytest

from tests.fakes.models import MACHINE, facts_of
from tui_llama.engine.descriptions import ModelFacts
from tui_llama.models.catalogue import load_catalogue
from tui_llama.models.described import context_words, describe, offers, refusal_words, size_and_type
from tui_llama.models.library import HUGGING_FACE, OLLAMA, OUR_FOLDER, FoundModel
from tui_llama.settings import Settings

SETTINGS = Settings()
FOUND = FoundModel(Path("/models/Qwen3-4B-Q4_K_M.gguf"), "Qwen3-4B-Q4_K_M", 2_500_000_000, HUGGING_FACE)
UNABLE = "the architecture 'mamba' is not supported"


def test_a_model_nobody_has_looked_into_has_a_title_and_may_run() -> None:
    model = describe(FOUND, None, MACHINE, SETTINGS)
    assert (model.title, model.fit, model.refusal, model.can_run) == ("Qwen3 4B", None, "", True)


def test_a_model_is_called_as_it_says() -> None:
    assert describe(FOUND, facts_of(FOUND, name="Qwen3 4B Thinking"), MACHINE, SETTINGS).title == "Qwen3 4B Thinking"


def test_a_model_of_ollama_is_called_as_ollama_calls_it() -> None:
    found = FoundModel(Path("/blobs/sha256-00"), "qwen3:4b", 1, OLLAMA)
    assert describe(found, facts_of(found, name="Qwen3 4B"), MACHINE, SETTINGS).title == "qwen3:4b"


def test_a_model_that_fits_is_not_refused() -> None:
    model = describe(FOUND, facts_of(FOUND), MACHINE, SETTINGS)
    assert model.fit is not None
    assert (model.refusal, model.can_run, model.fit.speed_words) == ("", True, "about 7.2 tok/s")


def test_a_model_that_is_too_large_is_refused_but_can_run() -> None:
    model = describe(FOUND, facts_of(FOUND, weight_bytes=20 * 10**9), MACHINE, SETTINGS)
    assert (model.refusal, model.can_run) == ("needs 21.1 GB, 8.0 GB free", True)


def test_a_model_that_the_engine_cannot_run_is_refused_without_its_path() -> None:
    model = describe(FOUND, facts_of(FOUND, refusal=f"{FOUND.path.name}: {UNABLE}"), MACHINE, SETTINGS)
    assert (model.refusal, model.can_run, model.fit) == (UNABLE, False, None)


def test_the_context_and_the_cache_of_the_settings_are_judged() -> None:
    facts = facts_of(FOUND)
    usual, larger, smaller = (
        describe(FOUND, facts, MACHINE, settings).fit
        for settings in (SETTINGS, Settings(context_size=32_768), Settings(cache_type="q8_0"))
    )
    assert usual is not None and larger is not None and smaller is not None
    assert smaller.needed_bytes < usual.needed_bytes < larger.needed_bytes


def test_a_refusal_that_names_no_file_is_left_as_it_is() -> None:
    assert refusal_words(ModelFacts("/models/a.gguf", refusal=UNABLE)) == UNABLE


def test_all_of_the_catalogue_is_offered_where_there_is_nothing() -> None:
    assert [offer.entry for offer in offers([], MACHINE, SETTINGS)] == list(load_catalogue())


def test_what_is_on_the_machine_is_not_offered_whatever_its_quantization() -> None:
    entry = next(entry for entry in load_catalogue() if entry.name == "qwen3-4b-instruct-2507")
    name = entry.file.removesuffix(".gguf").replace(entry.quantization, "Q8_0")
    found = FoundModel(Path(f"/models/{name}.gguf"), name, 1, OUR_FOLDER)

    offered = [offer.entry.name for offer in offers([describe(found, None, MACHINE, SETTINGS)], MACHINE, SETTINGS)]

    assert entry.name not in offered
    assert len(offered) == len(load_catalogue()) - 1


def test_what_is_on_the_machine_is_recognised_by_what_it_says_where_the_file_has_no_name() -> None:
    found = FoundModel(Path("/blobs/model.gguf"), "model", 1, OUR_FOLDER)
    model = describe(found, facts_of(found, name="Qwen3 4B Instruct 2507"), MACHINE, SETTINGS)
    assert "qwen3-4b-instruct-2507" not in [offer.entry.name for offer in offers([model], MACHINE, SETTINGS)]


def test_offers_are_judged_by_the_same_machine_and_settings() -> None:
    small = msgspec.structs.replace(MACHINE, free_bytes=1_000_000_000)
    fits = {offer.entry.name: offer.fit.fits for offer in offers([], small, SETTINGS)}
    assert fits["starter"]
    assert not fits["qwen3-4b-instruct-2507"]


@pytest.mark.parametrize(
    ("tokens", "words"), [(0, ""), (512, "512"), (1000, "1k"), (8192, "8k"), (131_072, "131k"), (262_144, "262k")]
)
def test_a_context_is_written_in_thousands(tokens: int, words: str) -> None:
    assert context_words(tokens) == words


def test_a_size_stands_with_its_type_where_that_is_known() -> None:
    assert size_and_type(2_500_000_000, "Q4_K_M") == "2.5 GB Q4_K_M"
    assert size_and_type(98_000_000, "") == "98 MB"
