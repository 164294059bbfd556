"""The catalogue's facts hold together, names lead to entries, and files are taken for what they are."""

import re
from importlib import resources
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_llama.engine.plan.architectures import ARCHITECTURES
from tui_llama.models.catalogue import (
    CatalogueEntry,
    CatalogueError,
    RecommendedSampling,
    entry_for_file,
    find_entry,
    load_catalogue,
    read_catalogue,
    suggest_names,
)
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.settings import SETTINGS

ENTRIES: Final = load_catalogue()
NAMES: Final = [entry.name for entry in ENTRIES]

# Bits of the file for each parameter. Below a billion the vocabulary's part is large, and it has more bits or is there
# twice.
BITS: Final = {"Q4_1": (5.0, 6.0), "Q8_0": (8.5, 8.7), "Q4_K_M": (4.8, 6.0)}
SMALL_Q4_K_M: Final = (4.8, 8.0)

EVERY_ENTRY = pytest.mark.parametrize("entry", ENTRIES, ids=NAMES)

LINES: Final = {
    "name": '"tiny"',
    "title": '"Tiny"',
    "architecture": '"llama"',
    "parameters": "1_000_000",
    "repository": '"someone/tiny-GGUF"',
    "file": '"tiny-chat.Q8_0.gguf"',
    "quantization": '"Q8_0"',
    "size_bytes": "1_100_000",
    "context_size": "512",
    "licence": '"MIT"',
    "licence_on_card": '"mit"',
    "good_for": '"tests"',
    "thinks": "false",
    "layers": "2",
    "kv_heads": "2",
    "head_dim": "16",
    "vocab_size": "1_000",
    "embedding": "64",
    "tied_embeddings": "true",
}


def table(**changes: str | None) -> str:
    """One entry in TOML; a change to None leaves a key out."""
    lines = {**LINES, **changes}
    return "\n".join(["[[models]]", *(f"{key} = {value}" for key, value in lines.items() if value is not None)])


def entry_of(**changes: str | None) -> CatalogueEntry:
    (entry,) = read_catalogue(table(**changes))
    return entry


def recognised(file_name: str, general_name: str = "") -> str | None:
    entry = entry_for_file(file_name, general_name)
    return None if entry is None else entry.name


# --- the facts ---


def test_the_catalogue_comes_with_the_package() -> None:
    assert (resources.files("tui_llama.models") / "catalogue.toml").is_file()


def test_the_starter_is_first_and_is_the_file_of_the_wheel() -> None:
    starter = ENTRIES[0]

    assert starter.name == "starter"
    assert (starter.file, starter.size_bytes) == ("SmolLM2-135M-Instruct.Q4_1.gguf", 98_362_432)
    assert starter.repository == ""
    assert starter.sampling.given() == {"temperature": 0.2, "top_p": 0.9}


@EVERY_ENTRY
def test_the_engine_has_the_architecture(entry: CatalogueEntry) -> None:
    assert entry.architecture in ARCHITECTURES


@EVERY_ENTRY
def test_only_the_starter_comes_from_elsewhere_than_the_hub(entry: CatalogueEntry) -> None:
    assert bool(entry.repository) == (entry.name != "starter")


@EVERY_ENTRY
def test_a_file_is_whole_and_says_its_quantization(entry: CatalogueEntry) -> None:
    assert not re.search(r"-of-\d{5}", entry.file)
    assert entry.quantization.casefold() in entry.file.casefold()


@EVERY_ENTRY
def test_the_size_fits_parameters_and_quantization(entry: CatalogueEntry) -> None:
    small = entry.parameters < 1e9 and entry.quantization == "Q4_K_M"
    least, most = SMALL_Q4_K_M if small else BITS[entry.quantization]

    assert least < 8 * entry.size_bytes / entry.parameters < most


@EVERY_ENTRY
def test_the_sizes_of_the_tensors_are_those_of_models(entry: CatalogueEntry) -> None:
    assert 135e6 * 0.9 < entry.parameters < 15e9
    assert 1024 <= entry.context_size <= 262_144
    assert 16 <= entry.layers <= 48
    assert entry.kv_heads <= 32
    assert entry.head_dim in (64, 128)
    assert 32_000 <= entry.vocab_size <= 152_064
    assert entry.embedding % 64 == 0
    assert entry.kv_heads * entry.head_dim <= entry.embedding
    assert entry.vocab_size * entry.embedding < entry.parameters


@EVERY_ENTRY
def test_of_every_file_most_is_read_for_a_token(entry: CatalogueEntry) -> None:
    share = entry.bytes_read_per_token / entry.size_bytes

    assert share == 1 if entry.tied_embeddings else 0.8 < share < 0.99


@EVERY_ENTRY
def test_recommended_sampling_is_what_the_settings_allow(entry: CatalogueEntry) -> None:
    for name, value in entry.sampling.given().items():
        setting = SETTINGS[f"sampling.{name}"]
        assert setting.check(value, entry.name) == value


def test_every_recommendation_is_a_setting_of_the_same_name() -> None:
    assert set(RecommendedSampling.__struct_fields__) <= set(SamplingSettings.__struct_fields__)


@EVERY_ENTRY
def test_what_a_model_is_good_for_is_one_short_line(entry: CatalogueEntry) -> None:
    assert "\n" not in entry.good_for
    assert not entry.good_for.endswith(".")
    assert entry.good_for[0].islower() or entry.good_for.startswith("English")


def test_no_two_entries_have_a_file_or_a_title_in_common() -> None:
    assert len({entry.file for entry in ENTRIES}) == len({entry.title for entry in ENTRIES}) == len(ENTRIES)


# --- what follows from the facts ---


def test_keys_and_values_are_counted_as_float16() -> None:
    entry = find_entry("llama-3.1-8b")

    assert entry is not None
    assert entry.key_value_bytes_per_token == 2 * 2 * 32 * 8 * 128


def test_token_embeddings_of_their_own_are_not_read() -> None:
    tied, untied = entry_of(), entry_of(tied_embeddings="false")

    assert tied.bytes_read_per_token == 1_100_000
    assert untied.bytes_read_per_token == 1_100_000 - 1_000 * 64 * 34 // 32


def test_rows_that_large_blocks_do_not_divide_have_more_bits() -> None:
    entry = find_entry("qwen2.5-0.5b")

    assert entry is not None
    # The difference to a file with one matrix for both, 397,808,192 bytes as bartowski has it, is all that is not read.
    assert entry.bytes_read_per_token == pytest.approx(397_808_192, abs=1_000)


# --- what is refused ---


@pytest.mark.parametrize(
    "changes",
    [
        {"colour": '"red"'},
        {"sampling": "{ temperatur = 1.0 }"},
        {"sampling": "{ seed = 1 }"},
        {"sampling": "{ temperature = -0.1 }"},
        {"sampling": "{ top_p = 1.1 }"},
        {"sampling": "{ top_k = 1.5 }"},
        {"sampling": "{ repeat_penalty = 0.0 }"},
        {"name": '"Tiny"'},
        {"name": '""'},
        {"aliases": '["a b"]'},
        {"layers": "0"},
        {"size_bytes": "-1"},
        {"thinks": '"no"'},
        {"repository": '"https://huggingface.co/someone/tiny"'},
        {"file": '"../tiny.gguf"'},
        {"file": '"tiny.bin"'},
        {"quantization": '"Q9_K"'},
        {"licence": '""'},
        {"context_size": None},
        {"tied_embeddings": "false", "vocab_size": "10_000_000"},
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, str | None]) -> None:
    with pytest.raises(CatalogueError):
        read_catalogue(table(**changes))


def test_no_toml_is_refused() -> None:
    with pytest.raises(CatalogueError):
        read_catalogue("[[models")


@pytest.mark.parametrize(
    "changes",
    [
        {"name": '"other"', "aliases": '["tiny"]', "file": '"other.gguf"', "title": '"Other"'},
        {"name": '"other"', "aliases": '["tiny-chat"]', "file": '"other.gguf"', "title": '"Other"'},
        {"name": '"other"', "file": '"other.gguf"'},
        {"name": '"other"', "title": '"Other"'},
    ],
)
def test_two_entries_with_a_name_in_common_are_refused(changes: dict[str, str | None]) -> None:
    with pytest.raises(CatalogueError, match="called the same"):
        read_catalogue(f"{table()}\n{table(**changes)}")


def test_a_catalogue_in_order_is_read_as_it_stands() -> None:
    entry = entry_of(sampling="{ temperature = 1, top_k = 5 }")

    assert (entry.name, entry.aliases, entry.size_is_estimate) == ("tiny", (), False)
    assert msgspec.structs.replace(SamplingSettings(), **entry.sampling.given()) == SamplingSettings(
        temperature=1.0, top_k=5
    )


# --- names ---


@EVERY_ENTRY
def test_an_entry_is_found_by_every_name_it_has(entry: CatalogueEntry) -> None:
    for name in (entry.name, *entry.aliases, entry.title, entry.name.upper()):
        assert find_entry(name) is entry


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Qwen3-4B", "qwen3-4b"),
        ("qwen3 4b", "qwen3-4b"),
        (" qwen3:4b ", "qwen3-4b"),
        ("qwen3:4b-instruct-2507", "qwen3-4b-instruct-2507"),
        ("smollm2-135m", "starter"),
        ("llama3.2", "llama-3.2-3b"),
        ("llama3.2:latest", "llama-3.2-3b"),
        ("meta-llama-3.1-8b-instruct", None),
        ("llama-3.1-8b-instruct", "llama-3.1-8b"),
        ("qwen2.5-coder:7b", "qwen2.5-coder-7b"),
        ("qwen3-4b-q8_0", None),
        ("qwen3-5b", None),
        ("gemma3:4b", None),
        ("", None),
        ("/", None),
    ],
)
def test_names_are_found_as_people_type_them(typed: str, name: str | None) -> None:
    entry = find_entry(typed)

    assert (None if entry is None else entry.name) == name


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("qwen3-4", "qwen3-4b"),
        ("qwen4b", "qwen3-4b"),
        ("Qwen3-4B-Instruct", "qwen3-4b-instruct-2507"),
        ("lama-3.2-3b", "llama-3.2-3b"),
        ("stater", "starter"),
        ("hermes", "hermes-3-llama-3.2-3b"),
        ("mistral-nemo-13b", "mistral-nemo-12b"),
        ("TheBloke/tinylama", "tinyllama-1.1b"),
    ],
)
def test_unknown_names_are_answered_with_near_ones(typed: str, first: str) -> None:
    suggestions = suggest_names(typed)

    assert suggestions[0] == first
    assert len(suggestions) == len(set(suggestions)) <= 5
    assert set(suggestions) <= set(NAMES)


@pytest.mark.parametrize("typed", ["", "  ", "/", "xyzzy", "\x1b[31m"])
def test_what_is_like_nothing_gets_no_suggestion(typed: str) -> None:
    assert suggest_names(typed) == []


# --- files on this machine ---


@EVERY_ENTRY
def test_an_entrys_own_file_is_recognised(entry: CatalogueEntry) -> None:
    for name in (entry.file, entry.file.removesuffix(".gguf"), entry.file.upper(), f"/a/b/{entry.file}"):
        assert entry_for_file(name) is entry


@EVERY_ENTRY
@pytest.mark.parametrize(
    "quantization", ["Q8_0", "F16", "bf16", "IQ4_XS", "UD-Q4_K_XL", "i1-Q5_K_S", "q4_0_4_4", "Q6_K"]
)
def test_the_quantization_makes_no_difference(entry: CatalogueEntry, quantization: str) -> None:
    file = re.sub(entry.quantization, quantization, entry.file, flags=re.IGNORECASE)

    assert entry_for_file(file) is entry


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Qwen3-4B-Q8_0.gguf", "qwen3-4b"),
        ("qwen3-4b-instruct-2507-ud-q4_k_xl.gguf", "qwen3-4b-instruct-2507"),
        ("Qwen3-4B-Thinking-2507-IQ3_XXS.gguf", "qwen3-4b-thinking-2507"),
        ("Meta-Llama-3.1-8B-Instruct.Q5_K_M.gguf", "llama-3.1-8b"),
        ("Llama-3.1-8B-Instruct-Q4_0.gguf", "llama-3.1-8b"),
        ("llama3.1-8b-instruct-q4-k-m", "llama-3.1-8b"),
        ("Qwen_Qwen3-8B-Q4_K_L.gguf", "qwen3-8b"),
        ("meta-llama_Llama-3.2-1B-Instruct-Q6_K.gguf", "llama-3.2-1b"),
        ("NousResearch_Hermes-3-Llama-3.2-3B-Q4_K_M.gguf", "hermes-3-llama-3.2-3b"),
        ("Qwen2.5_7B_Instruct_Q4_K_M.gguf", "qwen2.5-7b"),
        ("qwen2.5-7b-instruct-q4_k_m-00001-of-00002.gguf", "qwen2.5-7b"),
        ("Qwen3-4B-Q4_K_M (1).gguf", "qwen3-4b"),
        ("DeepSeek-R1-Distill-Qwen-7B.i1-Q4_K_M.gguf", "deepseek-r1-distill-qwen-7b"),
        ("tinyllama-1.1b-chat-v1.0.Q2_K.gguf", "tinyllama-1.1b"),
        ("Mistral-Nemo-Instruct-2407-imat-IQ4_NL.gguf", "mistral-nemo-12b"),
        ("SmolLM2-135M-Instruct-Q8_0", "starter"),
        (r"C:\models\Qwen3-14B-Q4_K_M.gguf", "qwen3-14b"),
        # llama.cpp's cache, and what Ollama has from Hugging Face
        ("Qwen_Qwen3-4B-GGUF_Qwen3-4B-Q4_K_M.gguf", "qwen3-4b"),
        ("bartowski_Llama-3.2-3B-Instruct-GGUF_Llama-3.2-3B-Instruct-Q4_K_M.gguf", "llama-3.2-3b"),
        ("hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M", "llama-3.2-3b"),
        ("hf.co/unsloth/Qwen3-1.7B-GGUF:latest", "qwen3-1.7b"),
        # Ollama's own library
        ("qwen3:4b", "qwen3-4b"),
        ("qwen3:4b-q8_0", "qwen3-4b"),
        ("qwen3:latest", "qwen3-8b"),
        ("qwen3:4b-instruct-2507-q4_K_M", "qwen3-4b-instruct-2507"),
        ("llama3.2:1b", "llama-3.2-1b"),
        ("llama3.2:3b-instruct-q8_0", "llama-3.2-3b"),
        ("llama3.1:latest", "llama-3.1-8b"),
        ("qwen2.5-coder:7b-instruct-q5_K_M", "qwen2.5-coder-7b"),
        ("deepseek-r1:1.5b", "deepseek-r1-distill-qwen-1.5b"),
        ("deepseek-r1:8b", "deepseek-r1-0528-qwen3-8b"),
        ("mistral:7b-instruct-v0.3-q4_K_M", "mistral-7b"),
        ("smollm2:135m", "starter"),
        ("smollm2:135m-instruct-q8_0", "starter"),
        ("hermes3:3b", "hermes-3-llama-3.2-3b"),
    ],
)
def test_files_are_recognised_by_their_names(file: str, name: str) -> None:
    assert recognised(file) == name


@pytest.mark.parametrize(
    "file",
    [
        # others' versions of a model
        "Qwen3-4B-Something-Uncensored-Q4_K_M.gguf",
        "Qwen3-4B-abliterated.Q4_K_M.gguf",
        "Josiefied-Qwen3-8B-abliterated-v1-Q4_K_M.gguf",
        "Llama-3.2-3B-Instruct-uncensored-Q8_0.gguf",
        "DeepHermes-3-Llama-3-8B-q4.gguf",
        "Qwen3-4B-小说-Q4_K_M.gguf",
        "my-Qwen3-4B.gguf",
        # the same with stretched positions
        "Qwen3-4B-128K-UD-Q4_K_XL.gguf",
        # base models
        "Qwen3-4B-Base-Q4_K_M.gguf",
        "Llama-3.2-3B-Q4_K_M.gguf",
        "Meta-Llama-3.1-8B.Q4_K_M.gguf",
        "Qwen2.5-7B-Q4_K_M.gguf",
        "Qwen2.5-Coder-7B.Q4_K_M.gguf",
        "SmolLM2-135M-Q8_0.gguf",
        "Mistral-7B-v0.3.Q4_K_M.gguf",
        "TinyLlama-1.1B.Q4_K_M.gguf",
        # relatives
        "Qwen3-4B-Instruct-Q4_K_M.gguf",
        "Qwen3-30B-A3B-Instruct-2507-Q4_K_M.gguf",
        "Qwen3-VL-4B-Instruct-Q4_K_M.gguf",
        "Qwen3-Embedding-4B-Q8_0.gguf",
        "Qwen3.5-4B-Q4_K_M.gguf",
        "Qwen2-7B-Instruct-Q4_K_M.gguf",
        "Qwen2-57B-Instruct.Q4_K_M.gguf",
        "Qwen2.5-Math-7B-Instruct-Q4_K_M.gguf",
        "Qwen2.5-VL-7B-Instruct-Q4_K_M.gguf",
        "qwen2.5-coder-3b-instruct-q4_k_m.gguf",
        "SmolLM-135M-Instruct.Q8_0.gguf",
        "SmolLM3-3B-Q4_K_M.gguf",
        "Mistral-7B-Instruct-v0.2-Q4_K_M.gguf",
        "Meta-Llama-3-8B-Instruct.Q4_0.gguf",
        "DeepSeek-R1-Distill-Llama-8B-Q4_K_M.gguf",
        "Hermes-3-Llama-3.1-8B.Q4_K_M.gguf",
        "gemma-3-4b-it-Q4_K_M.gguf",
        "qwen3:32b",
        "qwen2.5-coder:7b-base",
        "llama3.2:3b-text-q4_0",
        "deepseek-r1:8b-llama-distill-q4_K_M",
        # whoever put it there may have put anything there
        "someone/llama3.2:3b",
        "hf.co/someone/Llama-3.2-3B-GGUF:Q4_K_M",
        # names that say nothing
        "model.gguf",
        "ggml-model-Q4_K_M.gguf",
        f"sha256-{'0a' * 32}",
        ".gguf",
        "",
    ],
)
def test_other_files_are_not_taken_for_an_entry(file: str) -> None:
    assert recognised(file) is None


@pytest.mark.parametrize(
    ("file", "general_name", "name"),
    [
        # the file says nothing of a model
        ("model.gguf", "Llama 3.2 3B Instruct", "llama-3.2-3b"),
        ("ggml-model-Q4_K_M.gguf", "Meta Llama 3.1 8B Instruct", "llama-3.1-8b"),
        (f"sha256-{'0a' * 32}", "Qwen3-4B-Instruct-2507", "qwen3-4b-instruct-2507"),
        ("model.gguf", "tinyllama_tinyllama-1.1b-chat-v1.0", "tinyllama-1.1b"),
        ("model.gguf", "Qwen3 4B Uncensored", None),
        # the file leaves open which of two it is
        ("llama-3.2-3b.Q4_K_M.gguf", "Llama 3.2 3B Instruct", "llama-3.2-3b"),
        ("llama-3.2-3b.Q4_K_M.gguf", "Llama 3.2 3B", None),
        ("llama-3.2-3b.Q4_K_M.gguf", "Llama 3.2 1B Instruct", None),
        ("someone/llama3.2:3b", "Llama 3.2 3B Instruct", "llama-3.2-3b"),
        # a tag that was moved to a newer model
        ("qwen3:4b", "Qwen3 4B Thinking 2507", "qwen3-4b-thinking-2507"),
        ("qwen3:4b", "Qwen3 4B", "qwen3-4b"),
        ("qwen3:4b", "some training run", "qwen3-4b"),
        ("qwen3:32b", "Qwen3 4B", None),
        # the file's name counts, whatever is left inside from the original or the training
        ("Qwen3-4B-Something-Uncensored.gguf", "Qwen3 4B", None),
        ("SmolLM2-360M-Instruct-Q8_0.gguf", "Smollm2 360M 8k Lc100K Mix1 Ep2", "smollm2-360m"),
        ("Qwen3-4B-Q8_0.gguf", "Qwen3 8B", "qwen3-4b"),
    ],
)
def test_what_the_file_calls_itself_settles_what_its_name_leaves_open(
    file: str, general_name: str, name: str | None
) -> None:
    assert recognised(file, general_name) == name


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_text_may_be_a_name(text: str, other: str) -> None:
    known = load_catalogue()
    assert set(suggest_names(text)) <= {entry.name for entry in known}
    assert all(found is None or found in known for found in (find_entry(text), entry_for_file(text, other)))


def test_a_label_of_a_training_run_tells_the_model_whatever_its_file_is_called() -> None:
    label = "Smollm2 135M 8k Lc100K Mix1 Ep2"
    for file_name in ("model.gguf", "m-Q4_1.gguf", "tiny:latest", "sha256-" + "a" * 64):
        found = entry_for_file(file_name, label)
        assert found is not None and found.name == "starter"
