"""Kernels for mixtures of experts against their naive twins."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.engine.kernels.kernel_bench import address, run_kernel, through
from tests.engine.kernels.test_matrix import meaning, padded_tokens, random_matrix, repacked
from tests.naive import experts as naive
from tests.naive import ops as naive_ops
from tui_llama.engine.layouts import plan_row
from tui_llama.engine.layouts.activations import activation_bytes
from tui_llama.engine.layouts.routing import SOURCE_IS_A_PAIR, SOURCE_IS_A_TOKEN
from tui_llama.engine.layouts.weight_tile import F16_FORMAT, Q4_0_FORMAT, Q4_K_FORMAT, Q6_K_FORMAT, TileFormat
from tui_llama.engine.machine.memory import padded, zeroed_array
from tui_llama.engine.tensors.expert_sizes import ExpertSizes
from tui_llama.engine.tensors.routing import Routing

PER_TOKEN = {"per_token": plan_row.PER_TOKEN}
RNG = np.random.default_rng(11)


def random(*shape: int) -> npt.NDArray[np.float32]:
    return RNG.standard_normal(shape).astype(np.float32)


def route(
    logits: npt.NDArray[np.float32], sizes: ExpertSizes, bias: npt.NDArray[np.float32] | None = None, first: int = 0
) -> Routing:
    """Chooses and groups with the kernels."""
    tokens = len(logits)
    routing = Routing(tokens, sizes.count, sizes.used_count)
    rule = routing.rule(sizes)
    source = zeroed_array((tokens, padded(sizes.count)), np.float32)
    source[:, : sizes.count] = logits
    batch = {"token_count": tokens, "first_output_token": first}
    run_kernel(
        "choose_experts", batch, 2, input=address(source), input_stride=source.strides[0], output_tokens_only=1,
        extra=0 if bias is None else address(bias), routing=address(rule), **PER_TOKEN,
    )  # fmt: skip
    run_kernel("group_tokens", batch, routing=address(rule), output_tokens_only=1)
    return routing


RULES = [
    ExpertSizes(8, 2, 16),
    ExpertSizes(60, 4, 16, normalises=True),
    ExpertSizes(17, 17, 16, "sigmoid", normalises=True, weights_scale=2.5),
    ExpertSizes(32, 4, 16, "softmax of chosen"),
    ExpertSizes(16, 1, 16, "sigmoid", selects_by_logits=True, weighs_input=True),
    ExpertSizes(32, 6, 16, "sigmoid", normalises=True, weights_scale=2.5, group_count=8, used_group_count=4),
    ExpertSizes(4, 2, 16, group_count=4, used_group_count=3),
]


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("sizes", RULES, ids=str)
def test_experts_are_chosen_and_weighed_by_the_rule(sizes: ExpertSizes, biased: bool) -> None:
    logits, bias = random(9, sizes.count) * np.float32(3.0), random(sizes.count)
    routing = route(logits, sizes, bias if biased else None)
    chosen, weights = naive.choose(logits.astype(float), sizes, bias.astype(float) if biased else None)
    np.testing.assert_array_equal(routing.chosen[:9], chosen)
    np.testing.assert_allclose(routing.weights[:9], weights, rtol=2e-6)


def test_of_equal_scores_the_lower_number_is_chosen_and_no_number_is_never_left_out_of_bounds() -> None:
    sizes = ExpertSizes(6, 3, 16)
    assert route(np.zeros((1, 6), np.float32), sizes).chosen.tolist() == [[0, 1, 2]]
    logits = np.array([[1.0, 3.0, 0.0, 3.0, 1.0, 3.0]], np.float32)
    assert route(logits, sizes).chosen.tolist() == [[1, 3, 5]]
    broken = route(np.full((1, 6), np.nan, np.float32), sizes)
    assert sorted(set(broken.chosen[0].tolist())) == sorted(broken.chosen[0].tolist())
    assert set(broken.chosen[0].tolist()) <= set(range(6))


@pytest.mark.parametrize("place", range(4))
def test_a_score_that_is_no_number_chooses_after_all_others(place: int) -> None:
    logits = np.array([[1.0, -2.0, 3.0, -np.inf]], np.float32)
    order = [each for each in (2, 0, 1, 3) if each != place] + [place]
    logits[0, place] = np.nan
    assert route(logits, ExpertSizes(4, 4, 16, "sigmoid", selects_by_logits=True)).chosen.tolist() == [order]


def test_groups_hold_the_rows_of_each_expert_in_the_order_of_the_tokens() -> None:
    sizes = ExpertSizes(10, 3, 16)
    routing = route(random(7, 10), sizes, first=2)
    pairs = [(expert, token, rank) for token in range(5) for rank, expert in enumerate(routing.chosen[token].tolist())]
    rows = {(token, rank): row for row, (_, token, rank) in enumerate(sorted(pairs))}
    assert routing.rows[:5].tolist() == [[rows[token, rank] for rank in range(3)] for token in range(5)]
    used = sorted({expert for expert, _, _ in pairs})
    counts = [sum(expert == other for other, _, _ in pairs) for expert in used]
    assert routing.groups_of_batch() == list(zip(used, np.cumsum([0, *counts[:-1]]).tolist(), counts, strict=True))


@dataclass
class _Matrices:
    """Matrices of some experts in tiles, and what they mean."""

    layout: TileFormat
    tiles: npt.NDArray[np.uint8]
    decoded: list[npt.NDArray[np.float64]]
    bias: npt.NDArray[np.float32]
    factors: npt.NDArray[np.float32]

    @classmethod
    def random(cls, layout: TileFormat, count: int, rows: int, columns: int) -> "_Matrices":
        made = [random_matrix(layout, rows, columns) for _ in range(count)]
        tiles = np.stack([repacked(layout, raw, rows, columns) for raw, _ in made])
        bias = zeroed_array((count, padded(rows)), np.float32).view(np.float32)
        bias[:, :rows] = random(count, rows)
        return cls(layout, tiles, [decoded.astype(float) for _, decoded in made], bias, random(count))

    def multiply(self, expert: int, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Returns an expert's product, times its factor, plus its bias."""
        product: npt.NDArray[np.float64] = self.decoded[expert] @ x * self.factors[expert]
        return product + self.bias[expert, : len(product)]


def multiply(
    matrices: _Matrices, routing: Routing, rule: Any, x: npt.NDArray[np.float32], mode: int, threads: int
) -> npt.NDArray[np.float32]:
    """Spreads inputs and multiplies; returns the rows in the order of the groups."""
    layout, (rows, columns) = matrices.layout, matrices.decoded[0].shape
    blocks = columns // layout.columns
    tokens = len(x) if mode == SOURCE_IS_A_TOKEN else len(x) // routing.chosen.shape[1]
    stride = 4 * x.shape[1] if layout.is_float else activation_bytes(columns, layout.columns)
    source = padded_tokens(routing.most_input_rows, stride)
    batch = {"token_count": tokens}
    run_kernel(
        ("spread_inputs", "" if layout.is_float else f"quantize_{layout.columns}"), batch, threads,
        input=address(x), input_stride=x.strides[0], output=address(source), output_stride=source.strides[0],
        columns=blocks, mode=mode, routing=address(rule), **PER_TOKEN,
    )  # fmt: skip
    out = np.zeros((tokens * routing.chosen.shape[1], padded(rows)), np.float32)
    run_kernel(
        ("multiply_experts", f"matrix_{layout.name.lower()}"), batch, threads,
        input=address(source), input_stride=source.strides[0], output=address(out), output_stride=out.strides[0],
        weight=address(matrices.tiles), factor=address(matrices.factors), expert_stride=matrices.tiles.strides[0],
        columns=blocks,
        tile_row_bytes=blocks * layout.tile_bytes, units=padded(rows) // 16, extra=address(matrices.bias),
        extra_stride=matrices.bias.strides[0], routing=address(rule), per_token=plan_row.PER_CHOSEN_EXPERT,
        expert_count=len(matrices.tiles), used_count=routing.chosen.shape[1],
    )  # fmt: skip
    return out


@pytest.mark.parametrize("layout", [F16_FORMAT, Q4_0_FORMAT, Q6_K_FORMAT], ids=["F16", "Q4_0", "Q6_K"])
def test_each_token_is_multiplied_with_its_experts_only(layout: TileFormat) -> None:
    sizes = ExpertSizes(5, 2, 40)
    x, matrices = random(30, 256), _Matrices.random(layout, 5, 40, 256)
    routing = route(random(30, 5), sizes)
    rule = routing.rule(sizes)
    out = multiply(matrices, routing, rule, x, SOURCE_IS_A_TOKEN, threads=2)
    inputs = meaning(layout, x)
    for token in range(30):
        for rank, expert in enumerate(routing.chosen[token]):
            exact = matrices.multiply(expert, inputs[token])
            np.testing.assert_allclose(out[routing.rows[token, rank], :40], exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", [Q4_0_FORMAT, Q4_K_FORMAT], ids=["Q4_0", "Q4_K"])
def test_a_token_gets_the_same_bits_alone_as_with_others(layout: TileFormat) -> None:
    sizes = ExpertSizes(5, 3, 64)
    x, logits, matrices = random(70, 256), random(70, 5), _Matrices.random(layout, 5, 64, 256)
    routing = route(logits, sizes)
    out = multiply(matrices, routing, routing.rule(sizes), x, SOURCE_IS_A_TOKEN, threads=3)
    for token in (0, 31, 69):
        alone = route(logits[token : token + 1], sizes)
        mine = multiply(matrices, alone, alone.rule(sizes), x[token : token + 1], SOURCE_IS_A_TOKEN, threads=1)
        assert mine[alone.rows[0]].tobytes() == out[routing.rows[token]].tobytes()


def test_inputs_can_be_rows_of_groups_and_be_weighed() -> None:
    sizes = ExpertSizes(4, 2, 32, "sigmoid", weighs_input=True)
    routing = route(random(6, 4), sizes)
    rule = routing.rule(sizes)
    matrices = _Matrices.random(Q4_0_FORMAT, 4, 32, 64)
    x, pairs = random(6, 64), random(12, 64)
    weighed = multiply(matrices, routing, rule, x, SOURCE_IS_A_TOKEN, threads=1)
    of_pairs = multiply(matrices, routing, rule, pairs, SOURCE_IS_A_PAIR, threads=2)
    for token in range(6):
        for rank, expert in enumerate(routing.chosen[token]):
            row, weight = routing.rows[token, rank], routing.weights[token, rank]
            for out, source in ((weighed, x[token] * weight), (of_pairs, pairs[row])):
                exact = matrices.multiply(expert, meaning(Q4_0_FORMAT, source[None])[0])
                np.testing.assert_allclose(out[row, :32], exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("weighs_input", [False, True])
def test_results_are_weighed_and_added_in_the_order_of_rank(weighs_input: bool) -> None:
    sizes = ExpertSizes(6, 3, 16, weighs_input=weighs_input)
    routing = route(random(5, 6), sizes)
    rule = routing.rule(sizes)
    parts = random(15, 48)
    out = np.ones((5, 48), np.float32)
    fields = {"routing": address(rule), "columns": 48, "accumulate": 1}
    run_kernel("add_experts", {"token_count": 5}, 2, **through(parts, out), **fields, **PER_TOKEN)
    weights = np.where(weighs_input, 1.0, routing.weights[:5])
    expected = 1.0 + (parts[routing.rows[:5]].astype(float) * weights[..., None]).sum(axis=1)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


def test_clamped_swiglu_agrees_with_its_twin_beyond_its_limits() -> None:
    gates, ups = random(3, 32), random(3, 32)
    gates[0, :5], ups[0, 5:9] = [-40.0, -7.5, 6.9, 7.5, 100.0], [-100.0, -7.0, 7.5, 50.0]
    expected = naive_ops.clamped_swiglu(gates.astype(float), ups.astype(float))
    fields = {"extra": address(ups), "extra_stride": ups.strides[0], "columns": 32}
    run_kernel("clamped_swiglu", {"token_count": 3}, **through(gates, gates), **fields, **PER_TOKEN)
    np.testing.assert_allclose(gates, expected, rtol=2e-6, atol=1e-30)


def test_a_row_is_weighed_by_the_sigmoid_of_its_number() -> None:
    values, weights = random(3, 32), np.array([[-2.0], [0.0], [90.0]], np.float32)
    expected = values / (1.0 + np.exp(-weights.astype(float)))
    fields = {"extra": address(weights), "extra_stride": weights.strides[0], "columns": 32}
    run_kernel("weigh", {"token_count": 3}, **through(values, values), **fields, **PER_TOKEN)
    np.testing.assert_allclose(values, expected, rtol=2e-6)
