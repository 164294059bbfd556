"""Measuring the steps of a plan."""

from pathlib import Path
from time import perf_counter

import pytest

from tests.fakes.tiny_model import make_tiny_model
from tui_llama.engine import open_model


@pytest.mark.parametrize("threads", [1, 3])
def test_a_profile_shares_out_the_time_among_the_steps(tmp_path: Path, threads: int) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf")
    with open_model(path, threads=threads) as model, model.new_sequence() as sequence:
        for ids in ([1, 2, 3], [4]):
            begun = perf_counter()
            with model.profile() as times:
                assert times == []
                sequence.extend(ids)
            passed = perf_counter() - begun
            assert [step for step, _ in times] == model.plan.steps
            assert all(seconds >= 0.0 for _, seconds in times)
            assert 0.0 < sum(seconds for _, seconds in times) <= passed
        sequence.extend([5])
        with model.profile() as idle:
            pass
        assert sum(seconds for _, seconds in idle) == 0.0
