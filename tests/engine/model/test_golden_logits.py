"""Logits of every architecture and weight type against llama.cpp's and the exact ones, and the same bits every way."""

from pathlib import Path

import pytest

from tests.engine.model.golden_cases import golden_cases, try_golden_case

NO_CASE = pytest.param("", marks=pytest.mark.skip("no golden data"))


@pytest.mark.shared
@pytest.mark.parametrize("name", golden_cases() or [NO_CASE])
def test_logits_are_as_close_to_the_truth_as_llama_cpp_s_and_the_same_bits_every_way(
    shared_folder: Path, tmp_path: Path, name: str
) -> None:
    result = try_golden_case(shared_folder / "golden" / "logits", name, tmp_path / "state.tlk")
    assert result.error <= result.most_error
    assert result.is_same_in_pieces
    assert result.is_same_alone
