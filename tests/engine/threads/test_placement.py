"""Where threads run: what users of llama.cpp write, and what is refused."""

import os

import pytest

from tui_llama.engine.machine.topology import usable_processors
from tui_llama.engine.threads.placement import Placement, chosen_processors
from tui_llama.errors import SettingsError


@pytest.fixture
def eight_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that may use the processors 0 to 7 but not 3."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 4, 5, 6, 7}, raising=False)


def test_without_a_choice_every_usable_processor_is_taken() -> None:
    assert chosen_processors(Placement()) == usable_processors()


@pytest.mark.usefixtures("eight_processors")
@pytest.mark.parametrize(
    ("placement", "processors"),
    [
        (Placement(cpu_mask="0x1"), {0}),
        (Placement(cpu_mask="A1"), {0, 5, 7}),
        (Placement(cpu_mask="ffffffffffffffffffffffff"), {0, 1, 2, 4, 5, 6, 7}),
        (Placement(cpu_range="2-4"), {2, 4}),
        (Placement(cpu_range="5-"), {5, 6, 7}),
        (Placement(cpu_range="-1"), {0, 1}),
        (Placement(cpu_range="7-1000000000000"), {7}),
        (Placement(cpu_range="7-" + "9" * 5000), {7}),
        (Placement(cpu_mask="1", cpu_range="6-7"), {0, 6, 7}),
    ],
)
def test_masks_and_ranges_choose_among_the_usable_processors(placement: Placement, processors: set[int]) -> None:
    assert chosen_processors(placement) == processors


@pytest.mark.usefixtures("eight_processors")
@pytest.mark.parametrize(
    ("placement", "message"),
    [
        (Placement(cpu_mask="8"), "8 names no usable processor"),
        (Placement(cpu_range="3-3"), "3-3 names no usable processor"),
        (Placement(cpu_range="9-12"), "9-12 names no usable processor"),
        (Placement(cpu_range="9" * 5000 + "-"), "ends before it begins"),
        (Placement(cpu_mask="0"), "0 names no usable processor"),
        (Placement(cpu_mask="0x"), "'0x' is not a hexadecimal number"),
        (Placement(cpu_mask="-1"), "'-1' is not a hexadecimal number"),
        (Placement(cpu_range="3"), "'3' is not a range"),
        (Placement(cpu_range="-"), "'-' is not a range"),
        (Placement(cpu_range="a-b"), "'a-b' is not a range"),
        (Placement(cpu_range="5-2"), "'5-2' ends before it begins"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_hint(placement: Placement, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        chosen_processors(placement)
    assert caught.value.hint
