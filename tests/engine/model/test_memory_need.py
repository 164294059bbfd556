"""Which experts stay in the file where there is less memory than they need."""

import pytest

from tui_llama.engine.model.memory_need import experts_in_file, layer_of_experts

EXPERTS = {"a": 30, "b": 50, "c": 10}


@pytest.mark.parametrize(
    ("needed_bytes", "free_bytes", "place", "in_file"),
    [
        (10, 100, "auto", ""),
        (10, None, "auto", ""),
        (10, 99, "auto", "b"),  # the last tenth is left for what the system keeps of the file
        (10, 60, "auto", "b"),
        (10, 45, "auto", "bc"),
        (10, 9, "auto", "abc"),
        (10, 99, "memory", ""),
        (10, 1000, "file", "abc"),
        (10, None, "file", "abc"),
    ],
)
def test_as_many_experts_as_fit_are_in_memory(
    needed_bytes: int, free_bytes: int | None, place: str, in_file: str
) -> None:
    assert experts_in_file(EXPERTS, needed_bytes, free_bytes, place) == frozenset(in_file)


def test_experts_are_known_by_their_names() -> None:
    assert layer_of_experts("blk.12.ffn_gate_up_exps.weight") == 12
    assert layer_of_experts("blk.12.ffn_gate_shexp.weight") is None
    assert layer_of_experts("blk.0.ffn_gate_inp.weight") is None
