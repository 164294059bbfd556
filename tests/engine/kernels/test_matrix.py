"""Tiles and matrix kernels of every weight type against the gguf package's decoders."""

from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import pytest

from tests.engine.kernels.kernel_bench import address, run_kernel
from tests.naive import ops as naive
from tests.naive import weights
from tui_llama.engine import ops
from tui_llama.engine.gguf.types import TENSOR_TYPES
from tui_llama.engine.layouts import amx_panel, plan_row, unpacked_tile, weight_tile
from tui_llama.engine.layouts.activations import SPARE_TOKENS, SUMMARY_BYTES, activation_bytes
from tui_llama.engine.layouts.weight_tile import FORMATS, ScaleType, TileFormat
from tui_llama.engine.machine.memory import padded, zeroed_array
from tui_llama.engine.tensors.repacking import repack_units, units_of
from tui_llama.engine.tensors.tile_records import record_address

RNG = np.random.default_rng(3)
D_AT = {"Q2_K": 80, "Q3_K": 108, "Q6_K": 208, "TQ1_0": 52, "TQ2_0": 64}  # elsewhere the block begins with it
FORMAT_IDS = [layout.name for layout in FORMATS.values()]
EVERY_FORMAT = pytest.mark.parametrize("layout", FORMATS.values(), ids=FORMAT_IDS)


def random_matrix(layout: TileFormat, rows: int, columns: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[Any]]:
    """Random blocks as in a file and what the gguf package decodes them to."""
    if layout.is_float:
        kind = gguf.GGMLQuantizationType(layout.type_id)
        raw = gguf.quants.quantize(RNG.standard_normal((rows, columns)).astype(np.float32), kind)
    else:
        raw = RNG.integers(0, 256, (rows, layout.row_bytes(columns)), np.uint8)
        blocks = raw.reshape(-1, layout.block_bytes)
        d_at = D_AT.get(layout.name, 0)
        if layout.scale_type is ScaleType.EXPONENT:
            blocks[:, 0] = RNG.integers(116, 124, len(blocks))  # from 2^-12 on
        elif layout.name == "IQ1_M":
            bits = RNG.uniform(-0.01, 0.01, len(blocks)).astype(np.float16).view(np.uint16)
            for word in range(4):  # a nibble of d is the highest of each of the last four words
                nibble = (bits >> 4 * word & 15).astype(np.uint8)
                blocks[:, 49 + 2 * word] = blocks[:, 49 + 2 * word] & 15 | nibble << 4
        elif layout.scale_type is ScaleType.FLOAT16:
            for at in (d_at, d_at + 2) if layout.has_minimum else (d_at,):
                scale = RNG.uniform(-0.01, 0.01, len(blocks)).astype(np.float16)
                blocks[:, at : at + 2] = scale[:, None].view(np.uint8)
    raw = np.ascontiguousarray(raw).view(np.uint8).reshape(rows, -1)
    return raw, weights.decode(layout.type_id, raw)


def repacked(layout: TileFormat, raw: npt.NDArray[np.uint8], rows: int, columns: int) -> npt.NDArray[np.uint8]:
    out = np.zeros(layout.matrix_bytes(rows, columns), np.uint8)
    units = units_of(layout, address(raw), address(out), rows, columns, 0, padded(rows) // 16)
    repack_units(units, np.zeros(2, np.int64))
    return out


def padded_tokens(tokens: int, row_bytes: int) -> npt.NDArray[np.uint8]:
    """Room for an input that may be read beyond its last token, (tokens, row_bytes)."""
    return zeroed_array((tokens + SPARE_TOKENS, row_bytes), np.uint8)[:tokens].view(np.uint8)


def activations(
    layout: TileFormat, x: npt.NDArray[np.float32], *, batch_tokens: int = 0, first_output_token: int = 0
) -> npt.NDArray[np.uint8]:
    """The input as the kernel reads it in a batch of all tokens, or in batches of as many as are given."""
    if layout.is_float:
        out = padded_tokens(len(x), x.strides[0])
        out[:] = x.view(np.uint8)
        return out
    out = padded_tokens(len(x), activation_bytes(x.shape[1], layout.columns))
    for first in range(0, len(x), batch_tokens or len(x)):
        batch = x[first : first + batch_tokens] if batch_tokens else x
        run_kernel(
            f"quantize_{layout.columns}", {"token_count": len(batch), "first_output_token": first_output_token},
            output_tokens_only=1, per_token=plan_row.PER_TOKEN,
            columns=x.shape[1] // layout.columns, input=address(batch), input_stride=x.strides[0],
            output=address(out[first:]), output_stride=out.strides[0],
        )  # fmt: skip
    return out


def meaning(layout: TileFormat, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The numbers that the kernel's input stands for."""
    if layout.is_float:
        return x.astype(float)
    columns, blocks = x.shape[1], x.shape[1] // layout.columns
    token_rows = activations(layout, x, batch_tokens=1)
    quants = token_rows[:, :columns].reshape(len(x), blocks, -1).view(np.int8).astype(float)
    summaries = token_rows[:, columns : columns + blocks * SUMMARY_BYTES[layout.columns]].reshape(len(x), blocks, -1)
    scales = summaries[:, :, :4].copy().view(np.float32).astype(float)
    values: npt.NDArray[np.float64] = (quants * scales).reshape(x.shape)
    return values


def multiply(layout: TileFormat, rows: int, columns: int, tokens: int, threads: int = 1, **fields: Any) -> Any:
    """The kernel's product and the exact one, with the fields given."""
    raw, decoded = random_matrix(layout, rows, columns)
    matrix = repacked(layout, raw, rows, columns)
    x = RNG.standard_normal((tokens, columns)).astype(np.float32)
    batch = {"token_count": tokens} | fields.pop("batch", {})
    source = activations(layout, x, first_output_token=batch.get("first_output_token", 0))
    out = np.ones((tokens, padded(rows)), np.float32)
    run_kernel(
        f"matrix_{layout.name.lower()}", batch, threads,
        input=address(source), input_stride=source.strides[0], output=address(out), output_stride=out.strides[0],
        weight=address(matrix), weight_stride=columns // layout.columns * layout.tile_bytes,
        columns=columns // layout.columns, units=padded(rows) // 16, **fields,
    )  # fmt: skip
    return out, meaning(layout, x) @ decoded.astype(float).T


@EVERY_FORMAT
@pytest.mark.parametrize(("rows", "tokens"), [(16, 1), (16, 3), (40, 8), (33, 23), (40, 31), (200, 67)])
def test_products_agree_with_decoded_weights(layout: TileFormat, rows: int, tokens: int) -> None:
    out, exact = multiply(layout, rows, 86 if layout.is_float else 2 * layout.block_columns, tokens)
    np.testing.assert_allclose(out[:, :rows], exact, rtol=1e-4, atol=2e-5 * np.abs(exact).max())
    assert np.all(out[:, rows:] == 0.0)


@EVERY_FORMAT
def test_factor_bias_and_sum_are_applied_where_the_row_says_so(layout: TileFormat) -> None:
    bias, factor = RNG.standard_normal(32).astype(np.float32), np.array([-2.5], np.float32)
    out, exact = multiply(layout, 32, 256, 3, factor=address(factor), extra=address(bias), accumulate=1)
    np.testing.assert_allclose(out, -2.5 * exact + bias + 1.0, rtol=1e-4, atol=5e-5 * np.abs(exact).max())


@EVERY_FORMAT
@pytest.mark.parametrize("tokens", [10, 40])
def test_only_wanted_tokens_are_multiplied(layout: TileFormat, tokens: int) -> None:
    out, exact = multiply(layout, 16, 256, tokens, output_tokens_only=1, batch={"first_output_token": 9})
    assert np.all(out[:9] == 1.0)
    np.testing.assert_allclose(out[9:], exact[9:], rtol=1e-4, atol=2e-5 * np.abs(exact).max())


@EVERY_FORMAT
def test_one_token_or_many_give_the_same_bits(layout: TileFormat) -> None:
    rows, columns, tokens = 48, 512, 43
    raw, _ = random_matrix(layout, rows, columns)
    matrix = repacked(layout, raw, rows, columns)
    x = RNG.standard_normal((tokens, columns)).astype(np.float32)
    source, rows_apart = activations(layout, x), activations(layout, x, batch_tokens=8)
    together, apart = np.zeros((2, tokens, rows), np.float32)
    common = {
        "weight": address(matrix), "weight_stride": columns // layout.columns * layout.tile_bytes,
        "columns": columns // layout.columns, "units": rows // 16,
        "input_stride": source.strides[0], "output_stride": apart.strides[0],
    }  # fmt: skip
    name = f"matrix_{layout.name.lower()}"
    run_kernel(name, {"token_count": tokens}, 2, input=address(source), output=address(together), **common)
    for token in range(tokens):
        run_kernel(name, {"token_count": 1}, input=address(rows_apart[token]), output=address(apart[token]), **common)
    assert together.tobytes() == apart.tobytes()
    for count in range(2, 9):
        few = np.zeros((tokens, rows), np.float32)
        run_kernel(name, {"token_count": count}, input=address(rows_apart), output=address(few), **common)
        assert few[:count].tobytes() == apart[:count].tobytes()
        assert not few[count:].any()


@pytest.mark.parametrize(
    "layout", [layout for layout in FORMATS.values() if layout.columns == 256], ids=lambda layout: layout.name
)
def test_groups_of_tokens_tiles_and_columns_end_anywhere_with_the_same_bits(layout: TileFormat) -> None:
    rows, columns, tokens = 16 * (unpacked_tile.MOST_TILES + 1), 256 * (unpacked_tile.CHUNK_BLOCKS + 1), 149
    assert tokens > unpacked_tile.MOST_TOKENS + unpacked_tile.FEWEST_TOKENS
    raw, _ = random_matrix(layout, rows, columns)
    matrix = repacked(layout, raw, rows, columns)
    x = RNG.standard_normal((tokens, columns)).astype(np.float32)
    source, rows_apart = activations(layout, x), activations(layout, x, batch_tokens=8)
    together, apart = np.zeros((2, tokens, rows), np.float32)
    common = {
        "weight": address(matrix), "weight_stride": columns // 256 * layout.tile_bytes,
        "columns": columns // 256, "units": rows // 16,
        "input_stride": source.strides[0], "output_stride": apart.strides[0],
    }  # fmt: skip
    name = f"matrix_{layout.name.lower()}"
    row, batch = np.zeros(1, plan_row.ROW), np.zeros(1, plan_row.BATCH)
    for field, value in (common | {"input": address(source), "output": address(together)}).items():
        row[field] = value
    batch["token_count"] = tokens
    scratch = zeroed_array((amx_panel.SCRATCH_BYTES,), np.uint8)
    # All tile rows in one call, which a thread of a plan never gets of so few.
    ops.matrix_product(layout)(address(row), address(batch), 0, rows // 16, address(scratch))
    for token in range(tokens):
        run_kernel(name, {"token_count": 1}, input=address(rows_apart[token]), output=address(apart[token]), **common)
    assert together.tobytes() == apart.tobytes()


def test_scratch_memory_of_a_product_suffices_for_unpacked_tiles() -> None:
    assert unpacked_tile.SCRATCH_BYTES <= amx_panel.SCRATCH_BYTES


@pytest.mark.parametrize("layout", [weight_tile.Q2_K_FORMAT, weight_tile.Q3_K_FORMAT], ids=lambda layout: layout.name)
def test_extreme_scales_of_extreme_codes_are_exact(layout: TileFormat) -> None:
    rows, columns, tokens = 32, 256, 24
    raw, _ = random_matrix(layout, rows, columns)
    blocks = raw.reshape(rows, layout.block_bytes)
    scales, codes = (slice(96, 108), slice(0, 96)) if layout.name == "Q3_K" else (slice(0, 16), slice(16, 80))
    blocks[:, scales], blocks[:, codes] = 0, 0  # of Q3_K: -32 and -4, which give 128
    blocks[16:, scales] = 255
    blocks[24:, codes] = 255
    matrix = repacked(layout, raw, rows, columns)
    x = np.zeros((tokens, columns), np.float32)
    x[:] = np.where(np.arange(tokens) % 3 == 0, 127.0, -127.0)[:, None]  # the quants are the same numbers
    source = activations(layout, x)
    out = np.zeros((tokens, rows), np.float32)
    run_kernel(
        f"matrix_{layout.name.lower()}", {"token_count": tokens}, input=address(source),
        input_stride=source.strides[0], output=address(out), output_stride=out.strides[0], weight=address(matrix),
        weight_stride=layout.tile_bytes, columns=1, units=rows // 16,
    )  # fmt: skip
    exact = x.astype(float) @ weights.decode(layout.type_id, raw).astype(float).T
    np.testing.assert_allclose(out, exact, rtol=1e-5)
    if layout.name == "Q3_K":
        assert np.abs(exact[:, :16]).min() > 0.0


@EVERY_FORMAT
def test_embedding_rows_decode_as_the_gguf_package_decodes_them(layout: TileFormat) -> None:
    raw, decoded = random_matrix(layout, 19, 512)
    matrix = repacked(layout, raw, 19, 512)
    out, token_ids = np.zeros((3, 512), np.float32), np.array([1, 18, 7], np.int32)
    run_kernel(
        "embed", {"token_ids": address(token_ids), "token_count": 3},
        output=address(out), output_stride=out.strides[0],
        weight=address(matrix), weight_stride=len(matrix) // 2, columns=512, mode=layout.type_id,
        extra=record_address(layout), scale=1.0, per_token=plan_row.PER_TOKEN,
    )  # fmt: skip
    np.testing.assert_allclose(out, decoded[token_ids], rtol=1e-6, atol=1e-9)


@EVERY_FORMAT
def test_formats_have_the_sizes_that_the_reader_of_files_knows(layout: TileFormat) -> None:
    kind = TENSOR_TYPES[layout.type_id]
    assert (layout.name, layout.block_columns, layout.block_bytes) == (kind.name, kind.block_elements, kind.block_bytes)


def test_exponents_are_exact_where_float16_ends() -> None:
    layout = weight_tile.MXFP4_FORMAT
    exponents = np.array([0, 1, 2, 3, 100, 127, 128, 150, 200, 253, 254, 255, 64, 32, 16, 8], np.uint8)
    raw = np.zeros((16, layout.block_bytes), np.uint8)
    raw[:, 0], raw[:, 1:] = exponents, 0x11  # ones, so that each sum is as many times the scale as columns count
    matrix = repacked(layout, raw, 16, 32)
    x = np.zeros((1, 32), np.float32)
    x[0, 0] = 127.0  # a quant of 127 with a scale of 1
    source = activations(layout, x)
    out = np.zeros((1, 16), np.float32)
    run_kernel(
        "matrix_mxfp4", {"token_count": 1}, input=address(source), input_stride=source.strides[0],
        output=address(out), output_stride=out.strides[0], weight=address(matrix), weight_stride=layout.tile_bytes,
        columns=1, units=1,
    )  # fmt: skip
    with np.errstate(over="ignore"):
        assert out[0].tolist() == (127.0 * 2.0 ** (exponents.astype(float) - 128)).astype(np.float32).tolist()


def test_quantised_zeros_give_zeros() -> None:
    x = np.zeros((1, 256), np.float32)
    assert not meaning(weight_tile.Q4_K_FORMAT, x).any()
    quants, _ = naive.quantize(x.astype(float), 32)
    assert not quants.any()
