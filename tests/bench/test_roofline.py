"""What is counted for a limit: against the sums that one would do by hand."""

from pathlib import Path

import pytest

from tests.fakes.tiny_model import EXPERT_COUNT, USED_EXPERTS, TinyShape, make_tiny_model
from tui_llama.bench.machine_limits import LimitSample
from tui_llama.bench.roofline import Cost, batch_cost, batch_lengths
from tui_llama.engine import open_model

SHAPE = TinyShape(embedding=64, hidden=96, heads=4, kv_heads=2, head_dim=16)
LAYERS = 2
QKV = 64 * (4 * 16 + 2 * 2 * 16)
REST_OF_LAYER = 4 * 16 * 64 + 3 * 64 * 96
CACHE_BYTES = 2 * 2 * LAYERS * 2 * 16


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cost]:
    path = make_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf", shape=SHAPE, layers=LAYERS)
    with open_model(path, context_size=64, threads=1) as model:
        plan = model.plan
        assert model.info.key_value_bytes_per_token == CACHE_BYTES
        return {
            "vocab": Cost(matrix_macs=64 * model.vocab_size),
            "prompt": batch_cost(plan, CACHE_BYTES, 10, 5),
            "answer": batch_cost(plan, CACHE_BYTES, 10, 1),
        }


def test_one_token_goes_through_every_matrix(costs: dict[str, Cost]) -> None:
    expected = LAYERS * (QKV + REST_OF_LAYER) + costs["vocab"].matrix_macs
    assert costs["answer"].matrix_macs == expected


def test_of_a_prompt_only_the_last_token_leaves_the_last_layer(costs: dict[str, Cost]) -> None:
    expected = LAYERS * 5 * QKV + (5 + 1) * REST_OF_LAYER + costs["vocab"].matrix_macs
    assert costs["prompt"].matrix_macs == expected


def test_attention_looks_at_every_position_up_to_its_own(costs: dict[str, Cost]) -> None:
    assert costs["answer"].attention_macs == LAYERS * 2 * 4 * 16 * 11
    assert costs["prompt"].attention_macs == 2 * 4 * 16 * (11 + 12 + 13 + 14 + 15 + 15)


def test_weights_are_read_once_for_a_batch_and_the_cache_up_to_its_end(costs: dict[str, Cost]) -> None:
    assert costs["prompt"].weight_bytes == costs["answer"].weight_bytes >= 4 * costs["answer"].matrix_macs
    assert costs["answer"].cache_bytes == 11 * CACHE_BYTES
    assert costs["prompt"].cache_bytes == 15 * CACHE_BYTES


def test_a_token_reads_the_experts_that_it_uses_and_a_batch_no_expert_twice(tmp_path: Path) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf", "qwen3moe", shape=SHAPE, layers=1)
    with open_model(path, context_size=64, threads=1) as model:
        batches = [batch_cost(model.plan, CACHE_BYTES, 0, tokens).weight_bytes for tokens in (1, 2, 5)]
        experts = 4 * 3 * 64 * 96
        # The only layer is the last one, whose experts are used by the last token only.
        assert batches == [batches[0]] * 3
        rest = sum(step.weight_bytes for step in model.plan.steps if step.operation != "multiply_experts")
        assert batches[0] - rest == USED_EXPERTS * experts
        model.plan.rows["output_tokens_only"] = 0
        batches = [batch_cost(model.plan, CACHE_BYTES, 0, tokens).weight_bytes - rest for tokens in (1, 2, 5)]
        assert batches == [USED_EXPERTS * experts, 2 * USED_EXPERTS * experts, EXPERT_COUNT * experts]


def test_the_longer_of_reading_and_multiplying_is_the_limit() -> None:
    cost = Cost(weight_bytes=3_000_000, cache_bytes=1_000_000, matrix_macs=5_000_000, attention_macs=1_000_000)
    assert cost.least_seconds(LimitSample(read_gb_s=1, dot_gmac_s=10)) == pytest.approx(4e-3)
    assert cost.least_seconds(LimitSample(read_gb_s=10, dot_gmac_s=1)) == pytest.approx(6e-3)


def test_costs_add_up() -> None:
    assert Cost(1, 2, 3, 4) + Cost(10, 20, 30, 40) == Cost(11, 22, 33, 44)


@pytest.mark.parametrize(("tokens", "lengths"), [(512, [512]), (600, [512, 88]), (1, [1])])
def test_tokens_are_cut_into_batches(tokens: int, lengths: list[int]) -> None:
    assert list(batch_lengths(tokens, 512)) == lengths
