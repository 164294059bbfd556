"""What the header of a file tells is what the model is once it is loaded, and what is wrong with it is one line."""

import os
from pathlib import Path

import msgspec
import pytest

from tests.fakes.gguf_bytes import gguf_bytes, scalar, tensor
from tests.fakes.tiny_model import CHATML_TEMPLATE, Architecture, TinyShape, make_tiny_model
from tui_llama.engine import open_model
from tui_llama.engine.descriptions import ModelFacts
from tui_llama.engine.gguf.file import ValueType, open_gguf
from tui_llama.engine.model.facts import _SAMPLING_KEYS, quantization_name, read_model_facts
from tui_llama.engine.model.preparation import prepare_model
from tui_llama.errors import ModelFileError
from tui_llama.models.fitness import cache_bytes
from tui_llama.sampling.settings import SamplingSettings

SAID_BY_BOTH = (
    *("name", "path", "architecture", "quantization", "parameter_count", "trained_context_size"),
    *("key_value_bytes_per_token", "sampling"),
)
ADVICE = {"general.sampling.temp": 0.25, "general.sampling.top_k": 7}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf", quantization="Q8_0")


def facts_with(tmp_path: Path, **metadata: str | bool | int | float) -> ModelFacts:
    """The facts of a tiny model with more keys; `_` in a name stands for a dot."""
    entries = {f"general.{name.replace('__', '.')}": value for name, value in metadata.items()}
    return read_model_facts(make_tiny_model(tmp_path / "tiny.gguf", metadata=entries))


def bytes_of(path: Path, *names: str) -> int:
    with open_gguf(path) as file:
        return sum(file.tensors[name].size_bytes for name in names)


def test_what_nobody_foresaw_is_the_files_refusal(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: object) -> int:
        raise ZeroDivisionError("no such number")

    monkeypatch.setattr("tui_llama.engine.model.facts._bytes_read_per_token", fail)
    assert read_model_facts(tiny) == ModelFacts(
        str(tiny), refusal="tiny.gguf: it could not be read: ZeroDivisionError: no such number"
    )


# --- as the loaded model says


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("quantization", ["Q8_0", "Q4_K_M", "IQ2_XXS"])
def test_the_facts_are_those_of_the_loaded_model(architecture: Architecture, quantization: str, tmp_path: Path) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf", architecture, quantization, metadata=ADVICE)
    facts = read_model_facts(path)
    with open_model(path, threads=1) as model:
        assert {name: getattr(facts, name) for name in SAID_BY_BOTH} == {
            name: getattr(model.info, name) for name in SAID_BY_BOTH
        }
        # The loaded model counts the matrices; norms are next to nothing.
        assert model.info.weight_bytes == pytest.approx(facts.weight_bytes, rel=0.03)
    assert facts.refusal == ""


def test_the_size_is_that_of_the_file(tiny: Path) -> None:
    assert read_model_facts(tiny).file_bytes == tiny.stat().st_size


def test_the_context_and_the_bytes_of_keys_and_values_follow_the_sizes(tmp_path: Path) -> None:
    shape = TinyShape(kv_heads=4, head_dim=32, context=1024)
    facts = read_model_facts(make_tiny_model(tmp_path / "tiny.gguf", layers=3, shape=shape))
    assert facts.trained_context_size == 1024
    assert facts.key_value_bytes_per_token == 2 * 2 * 3 * 4 * 32


# --- weights


def test_writing_reads_all_weights_but_the_embedding_where_the_output_has_its_own(tiny: Path) -> None:
    facts = read_model_facts(tiny)
    assert facts.bytes_read_per_token == facts.weight_bytes - bytes_of(tiny, "token_embd.weight")


def test_writing_reads_the_embedding_where_it_is_the_output_too(tmp_path: Path) -> None:
    facts = read_model_facts(make_tiny_model(tmp_path / "tiny.gguf", tied=True, quantization="Q8_0"))
    assert facts.bytes_read_per_token == facts.weight_bytes


def test_of_experts_writing_reads_those_that_a_token_uses(tmp_path: Path) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf", "qwen3moe")
    with open_gguf(path) as file:
        experts = [tensor.size_bytes for name, tensor in file.tensors.items() if "_exps" in name]
        used = file.get_int("qwen3moe.expert_used_count") / file.get_int("qwen3moe.expert_count")
    facts = read_model_facts(path)
    others = facts.weight_bytes - bytes_of(path, "token_embd.weight") - sum(experts)
    assert used < 1
    assert facts.bytes_read_per_token == others + used * sum(experts)


@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["gemma3-pico-6-F16+caps", "gpt-oss-nano-4-F16", "gemma4-nano-6-F16", "deepseek2-nano-F16"]
)
@pytest.mark.parametrize("context_size", [64, 1024, 65536])
def test_keys_and_values_take_what_is_said_of_windows_shared_ones_and_latent_ones(
    shared_folder: Path, name: str, context_size: int
) -> None:
    path = shared_folder / "golden" / "logits" / f"{name}.gguf"
    with open_gguf(path) as file:
        shape = prepare_model(file, context_size).cache_shape
    padding = sum(16 / group.key_dim for group in shape.state.groups)  # heads are padded to 16 elements
    expected = shape.keys_bytes + shape.values_bytes
    assert cache_bytes(read_model_facts(path), context_size, "f16") <= expected
    assert cache_bytes(read_model_facts(path), context_size, "f16") >= expected / (1 + padding)


def test_the_type_is_that_of_most_matrices(tmp_path: Path) -> None:
    assert read_model_facts(make_tiny_model(tmp_path / "tiny.gguf", quantization="Q4_K_M")).quantization == "Q4_K"


@pytest.mark.parametrize(
    ("kind", "file_type", "expected"),
    [
        (ValueType.UINT32, 15, "Q4_K_M"),
        (ValueType.UINT32, 14, "Q4_K_S"),
        (ValueType.UINT32, 17, "Q5_0"),  # it has no Q5_K
        (ValueType.UINT32, 8, "Q5_0"),
        (ValueType.UINT32, 4_000_000, "Q5_0"),
        (ValueType.STRING, "15", "Q5_0"),
    ],
)
def test_a_mixture_has_the_name_that_people_know(
    tmp_path: Path, kind: ValueType, file_type: int | str, expected: str
) -> None:
    path = tmp_path / "mixed.gguf"
    places = [("a", 12, 0), ("b", 6, 288), ("c", 6, 640)]
    matrices = [tensor(name, [256, 2], type_id, offset) for name, type_id, offset in places]
    path.write_bytes(gguf_bytes([scalar("general.file_type", kind, file_type)], matrices, bytes(1024)))
    with open_gguf(path) as file:
        assert quantization_name(file) == expected


def test_a_file_without_matrices_has_no_type(tmp_path: Path) -> None:
    path = tmp_path / "vectors.gguf"
    path.write_bytes(gguf_bytes([], [tensor("a", [32])], bytes(128)))
    with open_gguf(path) as file:
        assert quantization_name(file) == ""


# --- what a file says of itself


def test_a_file_says_its_name_and_licence(tmp_path: Path) -> None:
    facts = facts_with(tmp_path, license="apache-2.0")
    assert (facts.name, facts.licence) == ("Tiny", "apache-2.0")


def test_what_is_no_text_is_as_good_as_not_said(tmp_path: Path) -> None:
    assert facts_with(tmp_path, license=3).licence == ""


@pytest.mark.parametrize(
    ("template", "source"),
    [
        (None, "none in the file; a plain one is used"),
        (" \n", "none in the file; a plain one is used"),
        (CHATML_TEMPLATE, "the model file (chatml)"),
        ("{{ messages[0].content }}", "the model file"),
    ],
)
def test_a_file_says_where_its_chat_template_comes_from(template: str | None, source: str, tmp_path: Path) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf", chat_template=template)
    assert read_model_facts(path).template_source == source


def test_each_field_of_sampling_has_its_key() -> None:
    assert set(_SAMPLING_KEYS) <= set(SamplingSettings.__struct_fields__)


def test_a_number_in_32_bits_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert facts_with(tmp_path, sampling__temp=0.6, sampling__top_p=0.95).sampling == {
        "temperature": 0.6,
        "top_p": 0.95,
    }


def test_recommended_sampling_is_read(tmp_path: Path) -> None:
    facts = facts_with(
        tmp_path, sampling__temp=0.25, sampling__top_k=7, sampling__top_p=0.5, sampling__min_p=0.125,
        sampling__penalty_repeat=1.5, sampling__penalty_last_n=32, sampling__xtc_probability=0.5,
        sampling__xtc_threshold=0.25, sampling__mirostat=2, sampling__mirostat_tau=4.0, sampling__mirostat_eta=0.5,
        sampling__sequence="top_k;temperature",
    )  # fmt: skip
    assert facts.sampling == {
        "temperature": 0.25, "top_k": 7, "top_p": 0.5, "min_p": 0.125, "repeat_penalty": 1.5, "penalty_last_n": 32,
        "xtc_probability": 0.5, "xtc_threshold": 0.25, "mirostat": 2, "mirostat_tau": 4.0, "mirostat_eta": 0.5,
        "samplers": "top_k;temperature",
    }  # fmt: skip


def test_a_file_without_advice_recommends_nothing(tiny: Path) -> None:
    assert read_model_facts(tiny).sampling == {}


@pytest.mark.parametrize("value", ["0.2", True, float("nan"), float("inf")])
def test_advice_that_is_no_number_is_passed_over(value: str | bool | float, tmp_path: Path) -> None:
    facts = facts_with(tmp_path, sampling__temp=value, sampling__top_k=7)
    assert (facts.sampling, facts.refusal) == ({"top_k": 7}, "")


# --- what cannot run


def test_an_architecture_that_the_engine_lacks_is_told_with_all_else_that_is_known(tmp_path: Path) -> None:
    path = tmp_path / "mamba.gguf"
    entries = [
        scalar("general.architecture", ValueType.STRING, "mamba"),
        scalar("general.name", ValueType.STRING, "Mamba 130M"),
    ]
    path.write_bytes(gguf_bytes(entries, [tensor("output.weight", [32, 2])], bytes(256)))
    facts = read_model_facts(path)
    assert "'mamba' is not supported" in facts.refusal
    assert "\n" not in facts.refusal
    assert (facts.name, facts.architecture, facts.parameter_count) == ("Mamba 130M", "mamba", 64)
    assert (facts.trained_context_size, facts.key_value_bytes_per_token) == (0, 0)


@pytest.mark.parametrize(
    ("architecture", "key", "value", "words"),
    [
        ("llama", "general.type", "adapter", "an adapter"),
        ("llama", "adapter.type", "lora", "an adapter"),
        ("clip", "general.type", "mmproj", "reads images or sounds"),
        ("clip", "general.name", "x", "reads images or sounds"),
        ("llama", "general.type", "imatrix", "an importance matrix"),
        ("controlvector", "general.name", "x", "a control vector"),
        ("nomic-bert", "general.type", "model", "computes embeddings"),
    ],
)
def test_a_file_that_is_no_model_that_writes_text_is_called_what_it_is(
    tmp_path: Path, architecture: str, key: str, value: str, words: str
) -> None:
    path = tmp_path / "other.gguf"
    entries = [
        scalar("general.architecture", ValueType.STRING, architecture),
        scalar(key, ValueType.STRING, value),
    ]
    path.write_bytes(gguf_bytes(entries, [tensor("blk.0.attn_q.weight.lora_a", [32, 2])], bytes(256)))
    assert words in read_model_facts(path).refusal
    with pytest.raises(ModelFileError, match=words):
        open_model(path, threads=1)


def test_sizes_that_make_no_sense_are_a_refusal(tmp_path: Path) -> None:
    path = tmp_path / "llama.gguf"
    path.write_bytes(gguf_bytes([scalar("general.architecture", ValueType.STRING, "llama")]))
    facts = read_model_facts(path)
    assert facts.refusal
    assert facts.architecture == "llama"


def test_a_text_that_is_none_can_be_sent(tmp_path: Path) -> None:
    path = tmp_path / "odd.gguf"
    entries = [scalar(f"general.{key}", ValueType.STRING, b"\xff\xfe") for key in ("architecture", "name", "license")]
    path.write_bytes(gguf_bytes(entries))
    assert msgspec.json.decode(msgspec.json.encode(read_model_facts(path)), type=ModelFacts).refusal


@pytest.mark.parametrize("content", [b"", b"GGUF", b"no model", gguf_bytes(version=99)])
def test_a_broken_file_is_a_refusal_and_nothing_else(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    facts = read_model_facts(path)
    assert facts.refusal
    assert facts == ModelFacts(str(path), refusal=facts.refusal)


def test_a_file_that_is_not_there_is_a_refusal(tmp_path: Path) -> None:
    assert read_model_facts(tmp_path / "missing.gguf").refusal


def test_facts_can_be_sent_whatever_bytes_the_path_has(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/no\xfftext.gguf"))
    facts = read_model_facts(path)
    assert facts.refusal
    assert msgspec.json.decode(msgspec.json.encode(facts), type=ModelFacts) == facts


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are listed on Linux only")
def test_no_file_stays_open(tiny: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny.read_bytes()[:5000])
    for path in (tiny, broken):
        read_model_facts(path)
    links = [each.readlink() for each in Path("/proc/self/fd").iterdir() if os.path.lexists(each)]
    assert not {tiny, broken} & set(links)
