"""Weights out of a file: vectors of every float type, matrices of the shape that is asked for, each only once."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from tui_llama.engine.gguf.file import open_gguf
from tui_llama.engine.tensors import repacking as repacking_module
from tui_llama.engine.tensors.repacking import repack_units
from tui_llama.engine.tensors.weights import Weights
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
    with weights.repacking(2) as repacking:
        repacking.finish(lambda done, total: progress.append((done, total)))
    assert progress == sorted(progress) and progress[-1] == (matrix.data.size, matrix.data.size)
    assert matrix.data.any()


def test_each_part_of_a_matrix_is_filled_by_the_thread_that_will_read_it(
    weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    seats: dict[int, threading.Thread] = {}
    filled: dict[threading.Thread, list[tuple[int, int]]] = {}

    def note_and_fill(units: NDArray[np.int64], progress: NDArray[np.int64]) -> None:
        spans = [(int(first), int(last)) for first, last in units[:, -2:]]
        filled.setdefault(threading.current_thread(), []).extend(spans)
        repack_units(units, progress)

    monkeypatch.setattr(repacking_module, "repack_units", note_and_fill)
    matrix = weights.matrix("matrix", 20, 64)
    with weights.repacking(2, lambda thread: seats.update({thread: threading.current_thread()})) as repacking:
        repacking.finish(lambda done, total: None)
    assert matrix.tile_count == 2
    assert [filled[seats[thread]] for thread in (0, 1)] == [[(0, 1)], [(1, 2)]]
    seated = matrix.data.copy()
    with weights.repacking(2) as repacking:
        repacking.finish(lambda done, total: None)
    np.testing.assert_array_equal(matrix.data, seated)


@pytest.mark.parametrize("kind", ["seated", "free"])
def test_a_failure_of_a_thread_is_raised_where_the_tiles_are_waited_for(
    weights: Weights, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(repacking_module, "repack_units", fail)
    weights.matrix("matrix", 20, 64)
    with (
        weights.repacking(2, (lambda thread: None) if kind == "seated" else None) as repacking,
        pytest.raises(MemoryError),
    ):
        repacking.finish(lambda done, total: None)


def test_leaving_early_ends_the_threads_before_they_are_done(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    began, left = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def wait_and_fill(units: NDArray[np.int64], progress: NDArray[np.int64]) -> None:
        threads.append(threading.current_thread())
        began.set()
        left.wait()
        repack_units(units, progress)

    def stop(done: int, total: int) -> None:
        began.wait()
        raise KeyboardInterrupt

    monkeypatch.setattr(repacking_module, "repack_units", wait_and_fill)
    weights.matrix("matrix", 20, 64)
    later = weights.matrix_rows("matrix", (0, 16, 20), 64)
    with pytest.raises(KeyboardInterrupt), weights.repacking(1) as repacking:
        monkeypatch.setattr(threading.Thread, "join", _joining_after(left))
        repacking.finish(stop)
    assert not later.data.any() and not threads[0].is_alive()


def _joining_after(left: threading.Event) -> Callable[[threading.Thread], None]:
    join = threading.Thread.join

    def join_after(thread: threading.Thread, timeout: float | None = None) -> None:
        left.set()
        join(thread, timeout)

    return join_after


def test_nothing_of_the_file_is_needed_once_all_is_repacked(weights: Weights) -> None:
    matrix = weights.matrix("matrix", 20, 64)
    with weights.repacking(1) as repacking:
        repacking.finish(lambda done, total: None)
    before = matrix.data.copy()
    os.truncate(weights.file.path, 0)
    np.testing.assert_array_equal(matrix.data, before)


def test_a_file_that_is_cut_while_it_is_repacked_is_an_error(weights: Weights) -> None:
    weights.matrix("matrix", 20, 64)
    os.truncate(weights.file.path, weights.file.tensors["matrix"].offset_bytes + 100)
    with weights.repacking(2) as repacking, pytest.raises(ModelFileError, match="cut short"):
        repacking.finish(lambda done, total: None)
