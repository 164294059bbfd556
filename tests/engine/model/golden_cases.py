"""The golden cases: logits of models of every kind, exact ones and llama.cpp's, and what becomes of ours."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.conftest import find_shared_folder
from tui_llama.engine import open_model
from tui_llama.engine.model.model import Model
from tui_llama.engine.plan.architectures import ARCHITECTURES

SIZES = ("pico", "nano", "tiny")


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """What came of a case: errors relative to the exact logits, and whether all ways gave the same bits.

    Attributes:
        error: Ours.
        peer_error: llama.cpp's.
        most_error: What ours may be.
        is_same_in_pieces: Whether odd batches, with saving and restoring between them, gave the same bits.
        is_same_alone: Whether one thread, with experts in the model file, gave the bits of two.
    """

    error: float
    peer_error: float
    most_error: float
    is_same_in_pieces: bool
    is_same_alone: bool

    @property
    def is_close(self) -> bool:
        """Whether our error is what it may be."""
        return self.error <= self.most_error

    @property
    def is_same(self) -> bool:
        """Whether all ways gave the same bits."""
        return self.is_same_in_pieces and self.is_same_alone


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


def is_float(name: str) -> bool:
    """Tells whether the weights of a case are not quantised."""
    return "-F16" in name or "-F32" in name


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


def try_golden_case(folder: Path, name: str, state_file: Path) -> GoldenResult:
    """Runs the model of a case all ways.

    Args:
        folder: Has the cases.
        name: The case.
        state_file: Where keys and values are saved meanwhile.
    """
    reference: Any = np.load(folder / f"{name}.npz")
    ids, path, positions = reference["tokens"].tolist(), folder / f"{name}.gguf", reference["positions"]
    context_size = max(int(reference["context"]) if "context" in reference else 0, len(ids))
    with open_model(path, threads=2, context_size=context_size) as model:
        logits = model.logits(ids)
        in_pieces = fed_in_pieces(model, ids, state_file)
    with open_model(path, threads=1, batch_tokens=7, experts="file", context_size=context_size) as model:
        alone = model.logits(ids)
    peer_error = relative_error(reference["peer"], reference["exact"])
    least = 5e-4 if is_float(name) else 0.0
    return GoldenResult(
        error=relative_error(logits[positions], reference["exact"]),
        peer_error=peer_error,
        most_error=max(1.2 * peer_error, least),
        is_same_in_pieces=in_pieces.tobytes() == logits[-1].tobytes(),
        is_same_alone=alone[positions].tobytes() == logits[positions].tobytes(),
    )
