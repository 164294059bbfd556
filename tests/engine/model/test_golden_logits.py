"""Logits of every architecture and weight type against llama.cpp's and the exact ones, and the same bits every way."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.conftest import find_shared_folder
from tui_llama.engine import open_model
from tui_llama.engine.model.model import Model
from tui_llama.engine.plan.architectures import ARCHITECTURES

SIZES = ("pico", "nano", "tiny")
NO_CASE = pytest.param("", marks=pytest.mark.skip("no golden data"))


def golden_cases() -> list[str]:
    """Returns the names of the cases whose architecture the engine knows; none where llama.cpp's files are missing."""
    folder = find_shared_folder()
    if folder is None:
        return []
    names = sorted(path.stem for path in (folder / "golden" / "logits").glob("*.npz"))
    return [name for name in names if architecture_of(name) in ARCHITECTURES]


def architecture_of(name: str) -> str:
    """Returns what a case's name says before its size, the architecture."""
    return min((name.partition(f"-{size}-")[0] for size in SIZES), key=len)


def relative_error(got: npt.NDArray[np.float32], exact: npt.NDArray[np.float32]) -> float:
    """Returns the root mean square of the differences, relative to that of the exact values."""
    difference = got.astype(np.float64) - exact
    return float(np.sqrt((difference**2).mean() / (exact.astype(np.float64) ** 2).mean()))


def fed_in_pieces(model: Model, ids: list[int], file: Path) -> npt.NDArray[np.float32]:
    """Returns the last logits of tokens that came in odd batches, with saving and restoring after a third of them."""
    with model.new_sequence() as first:
        for start in range(0, len(ids) // 3, 5):
            first.extend(ids[start : min(start + 5, len(ids) // 3)])
        first.save(file)
    with model.new_sequence() as second:
        second.restore(file)
        second.extend(ids[len(second) : -1])
        return np.array(second.extend(ids[-1:]))


@pytest.mark.shared
@pytest.mark.parametrize("name", golden_cases() or [NO_CASE])
def test_logits_are_as_close_to_the_truth_as_llama_cpp_s_and_the_same_bits_every_way(
    shared_folder: Path, tmp_path: Path, name: str
) -> None:
    folder = shared_folder / "golden" / "logits"
    reference: Any = np.load(folder / f"{name}.npz")
    ids, path = reference["tokens"].tolist(), folder / f"{name}.gguf"
    context_size = max(int(reference["context"]) if "context" in reference else 0, len(ids))
    with open_model(path, threads=2, context_size=context_size) as model:
        logits = model.logits(ids)
        in_pieces = fed_in_pieces(model, ids, tmp_path / "state.tlk")
    ours = relative_error(logits[reference["positions"]], reference["exact"])
    peer = relative_error(reference["peer"], reference["exact"])
    assert ours <= max(1.2 * peer, 5e-4 if "-F16" in name or "-F32" in name else 0.0)
    assert in_pieces.tobytes() == logits[-1].tobytes()
    with open_model(path, threads=1, batch_tokens=7, context_size=context_size) as alone:
        assert alone.logits(ids)[reference["positions"]].tobytes() == logits[reference["positions"]].tobytes()
