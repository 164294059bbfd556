"""Whether all of a model is known: what is refused, what is told of, what says nothing."""

from pathlib import Path

import numpy as np
import pytest

from tests.engine.model.random_model import write_random_model
from tests.fakes.gguf_bytes import array, scalar
from tests.fakes.odd_models import Tensor, odd_model
from tests.fakes.tiny_model import Architecture, make_tiny_model
from tui_llama.engine.gguf.file import ValueType, open_gguf
from tui_llama.engine.model.coverage import TensorCensus, check_coverage
from tui_llama.engine.model.facts import read_model_facts
from tui_llama.engine.model.model import open_model
from tui_llama.engine.plan.architectures import architecture_named
from tui_llama.engine.plan.builder import PlanBuilder
from tui_llama.engine.plan.forward.decoder import emit_forward_pass
from tui_llama.engine.plan.sizes.read_sizes import read_sizes
from tui_llama.engine.tensors.kv_cache import CacheShape, state_shape_of
from tui_llama.engine.tensors.rotary import RotaryTables
from tui_llama.engine.tensors.weights import Weights
from tui_llama.errors import ModelFileError

F32 = 0
INTEGERS, REALS, TRUTHS, TEXTS = ValueType.UINT32, ValueType.FLOAT32, ValueType.BOOL, ValueType.STRING


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model") / "sound.gguf")


def vector(name: str, *shape: int) -> Tensor:
    count = int(np.prod(shape))
    return name, shape, F32, np.ones(count, np.float32).tobytes()


def refusal(path: Path) -> str:
    """Why a file cannot be used: the same whether it is loaded or only looked into."""
    with pytest.raises(ModelFileError) as raised:
        open_model(path, threads=1)
    assert raised.value.hint
    assert read_model_facts(path).refusal == str(raised.value)
    return str(raised.value)


def notices(path: Path) -> tuple[str, ...]:
    assert read_model_facts(path).refusal == ""
    with open_gguf(path) as file:
        return check_coverage(file, read_sizes(file, architecture_named("llama")), architecture_named("llama"))


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "qwen3moe"])
@pytest.mark.parametrize("tied", [False, True])
def test_the_census_has_just_the_tensors_that_the_plan_reads(
    tmp_path: Path, architecture: Architecture, tied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[str] = set()
    for kind in ("matrix", "expert_matrices", "vector", "vectors"):
        original = getattr(Weights, kind)

        def note(self: Weights, name: str, *sizes: int, original: object = original) -> object:
            read.add(name)
            return original(self, name, *sizes)  # type: ignore[operator]

        monkeypatch.setattr(Weights, kind, note)
    with open_gguf(make_tiny_model(tmp_path / "tiny.gguf", architecture, tied=tied)) as file:
        sizes = read_sizes(file, architecture_named(architecture)).sizes
        cache = CacheShape(state_shape_of(sizes, "f16"), 32)
        census = TensorCensus(file, sizes)
        emit_forward_pass(census, architecture_named(architecture))
        weights = Weights(file)
        rotary = RotaryTables(sizes, weights.vector, 32, 32)
        builder = PlanBuilder(sizes, weights, rotary, cache, 8)
        emit_forward_pass(builder, architecture_named(architecture))
        assert census.names == read == set(file.tensors)


# --- tensors


@pytest.mark.parametrize(
    "extra",
    [
        vector("blk.0.attn_q_norm.weight", 16),
        vector("blk.1.post_attention_norm.weight", 64),
        vector("blk.1.ffn_norm.bias", 64),
        vector("blk.0.attn_sinks.weight", 4),
        vector("token_embd.scale", 1),
        vector("blk.2.attn_norm.weight", 64),
        vector("blk.0.ffn_gate_inp.weight", 64, 8),
        vector("blk.0.ffn_up_exps.weight", 64, 96, 2),
        vector("blk.2.nextn.eh_proj.weight", 128, 64),
        vector("cls.output.weight", 64, 2),
        vector("rope_factors_long.weight", 8),
        vector("output_norm.bias", 64),
        vector("position_embd.weight", 64, 8),
        vector("blk.0.attn_q.weight.lora_a", 64, 4),
        vector("something.new", 1),
    ],
    ids=lambda extra: extra[0],
)
def test_a_tensor_that_nothing_reads_is_refused_by_name(sound: Path, tmp_path: Path, extra: Tensor) -> None:
    assert refusal(odd_model(sound, tmp_path / "odd.gguf", extra_tensors=[extra])) == (
        f"odd.gguf: the model has a tensor that this program cannot use: '{extra[0]}'"
    )


def test_of_many_tensors_the_first_are_named_and_all_are_counted(sound: Path, tmp_path: Path) -> None:
    extra = [vector(f"blk.0.new_{number}.weight", 2) for number in range(5)]
    assert refusal(odd_model(sound, tmp_path / "odd.gguf", extra_tensors=extra)).endswith(
        "has 5 tensors that this program cannot use: 'blk.0.new_0.weight', 'blk.0.new_1.weight', "
        "'blk.0.new_2.weight' and 2 more"
    )


def test_frequency_factors_are_refused_where_the_architecture_has_none(tmp_path: Path) -> None:
    path = make_tiny_model(tmp_path / "qwen.gguf", "qwen3")
    factors = vector("rope_freqs.weight", 16)
    assert "'rope_freqs.weight'" in refusal(odd_model(path, tmp_path / "odd.gguf", extra_tensors=[factors]))


def test_a_layer_more_than_the_file_says_is_refused(tmp_path: Path) -> None:
    path = make_tiny_model(tmp_path / "three.gguf", layers=3)
    keys = {"llama.block_count": scalar("llama.block_count", INTEGERS, 2)}
    assert "9 tensors that this program cannot use" in refusal(odd_model(path, tmp_path / "odd.gguf", keys))


@pytest.mark.parametrize(
    "extra",
    [
        vector("blk.0.attn_rot_embd.weight", 8),
        vector("rope.freqs", 8),
        vector("blk.1.ffn_up.input_scale", 1),
        vector("blk.0.nothing.weight", 64, 0),
    ],
    ids=lambda extra: extra[0],
)
def test_a_tensor_that_says_nothing_is_passed_over(sound: Path, tmp_path: Path, extra: Tensor) -> None:
    path = odd_model(sound, tmp_path / "odd.gguf", extra_tensors=[extra])
    assert notices(path) == ()
    with open_model(sound, threads=1) as model, open_model(path, threads=1) as odd:
        np.testing.assert_array_equal(odd.logits([1, 2, 3]), model.logits([1, 2, 3]))


def test_sizes_of_1_behind_the_others_are_the_same_model(sound: Path, tmp_path: Path) -> None:
    def with_ones(tensors: list[Tensor]) -> list[Tensor]:
        return [(name, [*shape, 1, 1, 1, 1][:4], kind, content) for name, shape, kind, content in tensors]

    path = odd_model(sound, tmp_path / "odd.gguf", change=with_ones)
    with open_model(sound, threads=1) as model, open_model(path, threads=1) as odd:
        np.testing.assert_array_equal(odd.logits([1, 2, 3]), model.logits([1, 2, 3]))


def test_a_missing_tensor_and_one_of_another_shape_are_seen_without_loading(sound: Path, tmp_path: Path) -> None:
    def without(tensors: list[Tensor]) -> list[Tensor]:
        return [each for each in tensors if each[0] != "blk.1.ffn_up.weight"]

    assert "'blk.1.ffn_up.weight' is missing" in refusal(odd_model(sound, tmp_path / "odd.gguf", change=without))
    other = odd_model(
        sound, tmp_path / "odd.gguf", change=without, extra_tensors=[vector("blk.1.ffn_up.weight", 64, 2)]
    )
    assert "has shape (64, 2), but the model's sizes require (64, 96)" in refusal(other)


def test_blocks_that_predict_several_tokens_are_passed_over(sound: Path, tmp_path: Path) -> None:
    predicting = {"nextn_predict_layers": scalar("llama.nextn_predict_layers", INTEGERS, 1)}
    extra = [vector("blk.1.nextn.eh_proj.weight", 128, 64), vector("blk.1.something.new", 1)]
    assert notices(odd_model(sound, tmp_path / "odd.gguf", predicting, extra_tensors=extra)) == ()
    beyond = odd_model(sound, tmp_path / "odd.gguf", predicting, extra_tensors=[vector("blk.2.attn_norm.weight", 64)])
    assert "cannot use: 'blk.2.attn_norm.weight'" in refusal(beyond)


# --- keys


@pytest.mark.parametrize(
    ("name", "entry", "meaning"),
    [
        ("expert_used_count", scalar("llama.expert_used_count", INTEGERS, 2), "mixture of experts"),
        ("expert_used_count", array("llama.expert_used_count", INTEGERS, [0, 2]), "mixture of experts"),
        ("expert_group_count", scalar("llama.expert_group_count", INTEGERS, 4), "mixture of experts"),
        ("attention.causal", scalar("llama.attention.causal", TRUTHS, 0), "reads text in both directions"),
    ],
)
def test_a_key_that_changes_the_answer_is_refused(
    sound: Path, tmp_path: Path, name: str, entry: bytes, meaning: str
) -> None:
    why = refusal(odd_model(sound, tmp_path / "odd.gguf", {name: entry}))
    assert meaning in why
    assert f"(llama.{name})" in why


@pytest.mark.parametrize(
    "entry",
    [
        scalar("llama.attention.sliding_window", INTEGERS, 4096),
        scalar("llama.attention.scale", REALS, 0.5),
        scalar("llama.attn_logit_softcapping", REALS, 50.0),
        scalar("llama.final_logit_softcapping", REALS, 30.0),
        scalar("llama.logit_scale", REALS, 8.0),
        scalar("llama.residual_scale", REALS, 0.25),
        scalar("llama.embedding_scale", REALS, 12.0),
        scalar("llama.attention.clamp_kqv", REALS, 8.0),
        scalar("llama.pooling_type", INTEGERS, 3),
    ],
)
def test_a_key_that_llama_cpp_passes_over_is_told_of(sound: Path, tmp_path: Path, entry: bytes) -> None:
    [notice] = notices(odd_model(sound, tmp_path / "odd.gguf", {"odd": entry}))
    assert notice.endswith(("answers may be worse.", "answers may be nonsense."))
    assert "\n" not in notice


@pytest.mark.parametrize(
    "entry",
    [
        scalar("llama.expert_count", INTEGERS, 0),
        array("llama.expert_used_count", INTEGERS, [0, 0]),
        scalar("llama.nextn_predict_layers", INTEGERS, 0),
        scalar("llama.attention.causal", TRUTHS, 1),
        scalar("llama.attention.sliding_window", INTEGERS, 0),
        scalar("llama.logit_scale", REALS, 1.0),
        scalar("llama.use_parallel_residual", TRUTHS, 0),
        scalar("llama.pooling_type", INTEGERS, 0),
        scalar("qwen3.expert_count", INTEGERS, 8),
        scalar("llama.new_key", TEXTS, "x"),
    ],
)
def test_a_key_that_changes_nothing_is_passed_over(sound: Path, tmp_path: Path, entry: bytes) -> None:
    assert notices(odd_model(sound, tmp_path / "odd.gguf", {"odd": entry})) == ()


def test_a_vocabulary_of_an_unsupported_kind_is_seen_without_loading(sound: Path, tmp_path: Path) -> None:
    key = "tokenizer.ggml.model"
    path = odd_model(sound, tmp_path / "odd.gguf", {key: scalar(key, TEXTS, "bert")})
    assert "unsupported kind 'bert'" in read_model_facts(path).refusal


def test_a_context_beyond_the_positions_that_a_model_knows_is_refused(tmp_path: Path) -> None:
    path = write_random_model(tmp_path / "model.gguf", "gpt2")
    with pytest.raises(ModelFileError, match="knows 256 positions only, but a context of 257 was asked for") as raised:
        open_model(path, context_size=257)
    assert "256" in raised.value.hint
