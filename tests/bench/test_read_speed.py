"""How fast memory is read: a figure that a real machine can have, from a real process."""

import subprocess

import msgspec
import pytest

from tui_llama.bench import read_speed
from tui_llama.bench.read_speed import measure_read_speed
from tui_llama.engine.descriptions import ReadSpeed
from tui_llama.system.child_process import child_command

FASTEST = 1e14  # no cache of today is as fast as that; how slow it is depends on what else the machine does


def test_the_child_prints_a_figure_that_a_machine_can_have() -> None:
    done = subprocess.run(child_command("tui_llama.bench.read_speed"), capture_output=True, check=True)
    assert 0 < msgspec.json.decode(done.stdout, type=ReadSpeed).bytes_per_second < FASTEST


def test_a_small_buffer_is_measured_too() -> None:
    assert 0 < measure_read_speed(buffer_bytes=1 << 20).bytes_per_second < FASTEST


@pytest.mark.parametrize(("processor_seconds", "was_disturbed"), [(0.0, True), (1e6, False)])
def test_a_measurement_is_disturbed_where_others_had_the_processors(
    processor_seconds: float, was_disturbed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.0, processor_seconds])
    monkeypatch.setattr(read_speed, "process_time", lambda: next(times))
    assert measure_read_speed(buffer_bytes=1 << 20).was_disturbed == was_disturbed
