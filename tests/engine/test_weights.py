"""Weights out of a file: vectors of every float type, matrices of the shape that is asked for, each only once."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from tui_llama.engine import weights as weights_module
from tui_llama.engine.gguf_file import open_gguf
from tui_llama.engine.weights import Matrix, Weights
from tui_llama.errors import ModelFileError

VALUES = np.array([1.0, -2.5, 0.0, 3.140625, 1e-3, 100.0, -7.0, 0.5, 2.0], np.float32)
MATRIX = np.random.default_rng(1).standard_normal((20, 64)).astype(np.float32)


@pytest.fixture
def weights(tmp_path: Path) -> Iterator[Weights]:
    writer = gguf.GGUFWriter(str(tmp_path / "weights.gguf"), "llama")
    writer.add_tensor("f32", VALUES)
    writer.add_tensor("f16", VALUES.astype(np.float16))
    bf16 = gguf.GGMLQuantizationType.BF16
    writer.add_tensor("bf16", gguf.quants.quantize(VALUES, bf16), raw_dtype=bf16)
    q8_0 = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor("matrix", gguf.quants.quantize(MATRIX, q8_0), raw_dtype=q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with open_gguf(tmp_path / "weights.gguf") as file:
        yield Weights(file)


@pytest.mark.parametrize(("name", "precision"), [("f32", 0.0), ("f16", 1e-3), ("bf16", 1e-2)])
def test_a_vector_is_float32_filled_up_with_zeros(weights: Weights, name: str, precision: float) -> None:
    vector = weights.vector(name, 9)
    assert vector.dtype == np.float32 and vector.shape == (16,)
    np.testing.assert_allclose(vector[:9], VALUES, rtol=precision)
    assert not vector[9:].any()


@pytest.mark.parametrize(("name", "count"), [("f32", 8), ("f32", 10), ("missing", 9), ("matrix", 64)])
def test_a_vector_of_another_shape_or_none_is_refused_by_name(weights: Weights, name: str, count: int) -> None:
    with pytest.raises(ModelFileError, match=name):
        weights.vector(name, count)


@pytest.mark.parametrize(("rows", "columns"), [(64, 20), (20, 32), (21, 64)])
def test_a_matrix_of_another_shape_is_refused_by_name(weights: Weights, rows: int, columns: int) -> None:
    with pytest.raises(ModelFileError, match="matrix"):
        weights.matrix("matrix", rows, columns)


def test_a_matrix_is_repacked_with_progress_up_to_its_bytes(weights: Weights) -> None:
    matrix = weights.matrix("matrix", 20, 64)
    assert weights.matrix("matrix", 20, 64) is matrix
    assert matrix.data.size == 2 * 2 * 16 * 34 and not matrix.data.any()
    progress: list[tuple[int, int]] = []
    weights.repack(2, lambda done, total: progress.append((done, total)))
    assert progress == [(0, matrix.data.size), (matrix.data.size, matrix.data.size)]
    assert matrix.data.any()


def test_each_part_of_a_matrix_is_filled_by_the_thread_that_will_read_it(
    weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    seats: dict[int, int] = {}
    filled: dict[int, list[tuple[int, int]]] = {}
    fill = weights_module._repack_tiles

    def note_and_fill(matrix: Matrix, source: Any, kind: Any, first: int, last: int) -> None:
        filled.setdefault(threading.get_ident(), []).append((first, last))
        fill(matrix, source, kind, first, last)

    monkeypatch.setattr(weights_module, "_repack_tiles", note_and_fill)
    matrix = weights.matrix("matrix", 20, 64)
    weights.repack(2, lambda done, total: None, lambda thread: seats.update({thread: threading.get_ident()}))
    assert matrix.tile_count == 2
    assert [filled[seats[thread]] for thread in (0, 1)] == [[(0, 1)], [(1, 2)]]
    seated = matrix.data.copy()
    weights.repack(2, lambda done, total: None)
    np.testing.assert_array_equal(matrix.data, seated)


def test_an_embedding_is_read_where_it_lies(weights: Weights) -> None:
    embedding = weights.embedding("matrix", 20, 64)
    assert (embedding.layout.name, embedding.row_bytes, embedding.data.size) == ("Q8_0", 68, 20 * 68)
    assert not embedding.data.flags.writeable
