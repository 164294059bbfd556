"""What is known of this machine: memory, also in a container, and the reading speed that is measured once."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tui_llama import paths
from tui_llama.engine.descriptions import ReadSpeed
from tui_llama.engine.machine import free_memory
from tui_llama.models import machine
from tui_llama.models.machine import measured_machine, processor_name, this_machine

MIB = 1 << 20
MEMORY = "MemTotal:       16384 kB\nMemFree: 1 kB\nMemAvailable:    8192 kB\nHugePages_Total:       0\nodd line kB\n"
PROCESSORS = "processor\t: 0\nmodel name\t: Fast One 9000\nflags\t\t: fpu\n"


@pytest.fixture(autouse=True)
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system whose tables a test writes: 16 MiB of memory, 8 of them free, no container."""
    folder = tmp_path / "system"
    folder.mkdir()
    (folder / "meminfo").write_text(MEMORY)
    (folder / "cpuinfo").write_text(PROCESSORS)
    monkeypatch.setattr(free_memory, "_MEMORY_TABLE", folder / "meminfo")
    monkeypatch.setattr(machine, "_PROCESSOR_TABLE", folder / "cpuinfo")
    monkeypatch.setattr(free_memory, "_CONTROL_GROUP", folder / "cgroup")
    return folder


Measure = Callable[[ReadSpeed | None], list[int]]


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> Measure:
    """Says what will be measured, and returns a list that grows with every measurement."""

    def answer(speed: ReadSpeed | None) -> list[int]:
        calls: list[int] = []

        def measured() -> ReadSpeed | None:
            calls.append(1)
            return speed

        monkeypatch.setattr(machine, "_measured_speed", measured)
        return calls

    return answer


def set_group(system: Path, limit: tuple[str, str], use: tuple[str, str] | None = None) -> None:
    for name, text in (limit, *([use] if use else [])):
        path = system / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


# --- processor and memory


def test_the_processor_is_called_as_it_calls_itself() -> None:
    assert processor_name() == "Fast One 9000"


def test_a_small_board_names_itself_instead_of_its_processor(system: Path) -> None:
    (system / "cpuinfo").write_text("processor\t: 0\nHardware\t: X\nModel\t\t: Raspberry Pi 5\n")
    assert processor_name() == "Raspberry Pi 5"


def test_a_processor_without_a_name_is_called_something(system: Path) -> None:
    (system / "cpuinfo").unlink()
    assert processor_name()


def test_the_memory_is_that_of_the_table() -> None:
    here = this_machine()
    assert (here.memory_bytes, here.free_bytes) == (16 * MIB, 8 * MIB)


def test_at_least_one_core_can_be_used() -> None:
    assert this_machine().core_count >= 1


def test_where_there_is_no_table_the_system_is_asked(system: Path) -> None:
    (system / "meminfo").unlink()
    here = this_machine()
    assert here.free_bytes is not None
    assert here.memory_bytes >= here.free_bytes >= 0
    assert here.memory_bytes > 16 * MIB


def test_a_table_of_nonsense_is_no_error(system: Path) -> None:
    (system / "meminfo").write_bytes(b"MemTotal: many kB\n\xff\xfe\nkB\n")
    assert this_machine().memory_bytes > 0


@pytest.mark.parametrize(
    ("limit", "use"),
    [("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")],
    ids=["version 2", "version 1"],
)
def test_a_container_may_use_what_its_limit_leaves(system: Path, limit: str, use: str) -> None:
    set_group(system, (limit, str(10 * MIB)), (use, str(6 * MIB)))
    here = this_machine()
    assert (here.memory_bytes, here.free_bytes) == (10 * MIB, 4 * MIB)


def test_a_container_has_no_more_free_than_the_machine(system: Path) -> None:
    set_group(system, ("memory.max", str(12 * MIB)), ("memory.current", str(MIB)))
    assert this_machine().free_bytes == 8 * MIB


def test_a_container_that_uses_more_than_its_limit_has_nothing_free(system: Path) -> None:
    set_group(system, ("memory.max", str(4 * MIB)), ("memory.current", str(5 * MIB)))
    assert this_machine().free_bytes == 0


@pytest.mark.parametrize(
    ("limit", "use", "table", "key"),
    [
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
    ],
    ids=["version 2", "version 1"],
)
def test_a_container_has_free_what_it_keeps_of_files(system: Path, limit: str, use: str, table: str, key: str) -> None:
    set_group(system, (limit, str(10 * MIB)), (use, str(10 * MIB)))
    (system / "cgroup" / table).write_text(f"anon {MIB}\nodd\nkernel what?\n{key} {3 * MIB}\nslab 5\n")
    assert this_machine().free_bytes == 3 * MIB


def test_a_container_that_keeps_more_of_files_than_it_uses_has_its_limit(system: Path) -> None:
    set_group(system, ("memory.max", str(4 * MIB)), ("memory.current", str(MIB)))
    (system / "cgroup" / "memory.stat").write_text(f"inactive_file {2 * MIB}\n")
    assert this_machine().free_bytes == 4 * MIB


def test_where_nobody_tells_the_free_memory_it_is_unknown(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (system / "meminfo").unlink()
    monkeypatch.setattr(free_memory, "_pages", lambda name: None)
    here = this_machine()
    assert (here.memory_bytes, here.free_bytes) == (0, None)


@pytest.mark.parametrize("limit", ["max", str(1 << 62), "", "what?"])
def test_a_container_without_a_sensible_limit_has_the_machines_memory(system: Path, limit: str) -> None:
    set_group(system, ("memory.max", limit), ("memory.current", str(MIB)))
    here = this_machine()
    assert (here.memory_bytes, here.free_bytes) == (16 * MIB, 8 * MIB)


# --- the reading speed


def test_a_machine_that_was_not_measured_has_no_speed(measure: Measure) -> None:
    calls = measure(ReadSpeed(5e9, False))
    assert this_machine().read_bytes_per_second == 0
    assert calls == []


def test_the_speed_is_measured_once_and_kept(measure: Measure) -> None:
    calls = measure(ReadSpeed(5e9, False))
    assert [measured_machine().read_bytes_per_second for _ in range(2)] == [5e9, 5e9]
    assert this_machine().read_bytes_per_second == 5e9
    assert len(calls) == 1


def test_a_disturbed_measurement_counts_until_a_better_one(measure: Measure) -> None:
    measure(ReadSpeed(5e9, True))
    assert measured_machine().read_bytes_per_second == 5e9
    calls = measure(ReadSpeed(8e9, False))
    assert [measured_machine().read_bytes_per_second for _ in range(2)] == [8e9, 8e9]
    assert len(calls) == 1


def test_of_two_measurements_the_faster_one_counts(measure: Measure) -> None:
    measure(ReadSpeed(5e9, True))
    measured_machine()
    measure(ReadSpeed(3e9, False))
    assert measured_machine().read_bytes_per_second == 5e9


def test_a_measurement_that_fails_leaves_what_was_known(measure: Measure) -> None:
    measure(None)
    assert measured_machine().read_bytes_per_second == 0
    measure(ReadSpeed(5e9, True))
    measured_machine()
    measure(None)
    assert measured_machine().read_bytes_per_second == 5e9


@pytest.mark.parametrize("changed", ["processor", "cores"])
def test_another_processor_is_measured_again(
    changed: str, system: Path, measure: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure(ReadSpeed(5e9, False))
    measured_machine()
    if changed == "processor":
        (system / "cpuinfo").write_text(PROCESSORS.replace("9000", "1"))
    else:
        monkeypatch.setattr(machine, "_usable_core_count", lambda: 999)
    assert this_machine().read_bytes_per_second == 0
    measure(ReadSpeed(1e9, False))
    assert measured_machine().read_bytes_per_second == 1e9


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"processor": 1}', b"\xff"])
def test_a_broken_file_is_measured_again(content: bytes, measure: Measure) -> None:
    paths.make_private_folder(paths.cache_folder())
    (paths.cache_folder() / "machine.json").write_bytes(content)
    measure(ReadSpeed(5e9, False))
    assert measured_machine().read_bytes_per_second == 5e9
    assert this_machine().read_bytes_per_second == 5e9


def test_a_speed_that_cannot_be_kept_is_used_all_the_same(measure: Measure) -> None:
    paths.cache_folder().parent.mkdir(parents=True, exist_ok=True)
    paths.cache_folder().write_bytes(b"a file where the folder should be")
    calls = measure(ReadSpeed(5e9, False))
    assert [measured_machine().read_bytes_per_second for _ in range(2)] == [5e9, 5e9]
    assert len(calls) == 2


def test_keeping_the_speed_leaves_nothing_else_in_the_folder(measure: Measure) -> None:
    measure(ReadSpeed(5e9, False))
    measured_machine()
    assert [path.name for path in paths.cache_folder().iterdir()] == ["machine.json"]


Ending = Callable[[], "subprocess.CompletedProcess[bytes]"]


def raising(error: Exception) -> Ending:
    def fail() -> "subprocess.CompletedProcess[bytes]":
        raise error

    return fail


@pytest.mark.parametrize(
    "ending",
    [
        raising(subprocess.TimeoutExpired("measure", 1)),
        raising(subprocess.CalledProcessError(1, "measure")),
        raising(FileNotFoundError("no interpreter")),
        lambda: subprocess.CompletedProcess("measure", 0, b"what?"),
    ],
    ids=["takes too long", "fails", "cannot be started", "prints something else"],
)
def test_a_process_that_cannot_measure_is_no_error(ending: Ending, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_arguments: object, **_options: object) -> "subprocess.CompletedProcess[bytes]":
        return ending()

    monkeypatch.setattr(subprocess, "run", run)
    assert measured_machine().read_bytes_per_second == 0


def test_the_speed_is_what_the_process_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = msgspec.json.encode(ReadSpeed(7e9, False))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess("measure", 0, printed))
    assert measured_machine().read_bytes_per_second == 7e9


def test_what_a_process_can_fill_is_the_free_memory_and_the_space_for_its_pages(system: Path) -> None:
    assert free_memory.most_new_bytes() == 8 * MIB
    (system / "meminfo").write_text(MEMORY + "SwapFree: 4096 kB\n")
    assert free_memory.most_new_bytes() == 12 * MIB
    (system / "cgroup").mkdir()
    (system / "cgroup" / "memory.max").write_text(f"{5 * MIB}\n")
    (system / "cgroup" / "memory.current").write_text(f"{2 * MIB}\n")
    assert free_memory.most_new_bytes() == 3 * MIB
