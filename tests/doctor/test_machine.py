"""Processor, memory and machine code."""

import sys
from pathlib import Path

import pytest

from tests.doctor.sections import rows
from tui_llama.doctor.machine import (
    LEAST_FREE_BYTES,
    KeptKernels,
    code_section,
    kept_kernels,
    last_words,
    look_at_code,
    look_at_machine,
    machine_section,
)
from tui_llama.engine.toolchain.object_store import sources_hash
from tui_llama.models.machine import Machine

MACHINE = Machine("Abacus 9", 4, 32_000_000_000, 20_000_000_000, 12.34e9)
NO_KERNELS = KeptKernels(0, 0, 0, 0)


def test_a_machine_is_described() -> None:
    section = machine_section(MACHINE, 2, 8)

    assert rows(section) == {
        "processor": "Abacus 9",
        "cores": "2 cores; 4 of 8 processors may be used",
        "memory": "32.0 GB",
        "free memory": "20.0 GB",
        "reads memory": "12.3 GB a second",
    }
    assert section.problems == ()


@pytest.mark.parametrize(
    ("free_bytes", "is_told"), [(LEAST_FREE_BYTES - 1, True), (LEAST_FREE_BYTES, False), (0, True), (None, False)]
)
def test_too_little_memory_is_told_as_advice_and_unknown_memory_is_not(free_bytes: int | None, is_told: bool) -> None:
    section = machine_section(Machine("x", 1, 1 << 40, free_bytes, 1e9), 1, 1)

    assert [problem.text.startswith("Only ") for problem in section.problems] == [True] * is_told
    assert (rows(section)["free memory"] == "unknown") == (free_bytes is None)
    assert all(problem.is_advice for problem in section.problems)  # a chat may hold a model just now


def test_memory_that_cannot_be_measured_is_wrong_with_its_cause() -> None:
    section = machine_section(Machine("x", 1), 1, 1, "no compiler")

    assert [problem.text for problem in section.problems] == ["Kernels cannot run on this machine: no compiler."]
    assert rows(section)["memory"] == "unknown"


def test_why_memory_cannot_be_measured_is_found_out(home_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_llama.models.machine._measured_speed", lambda: None)
    monkeypatch.setenv("TUI_LLAMA_INSTRUCTION_SET", "abacus")
    (problem,) = look_at_machine().problems

    assert problem.text.startswith("Kernels cannot run on this machine: ")
    assert "'abacus'" in problem.text and "Error" not in problem.text


def test_the_instruction_set_is_told_with_the_reason() -> None:
    free = code_section("avx2", ["avx2", "portable"], "", "abc", NO_KERNELS)
    forced = code_section("portable", ["avx2", "portable"], "portable", "abc", NO_KERNELS)
    same = code_section("avx2", ["avx2", "portable"], "avx2", "abc", NO_KERNELS)

    assert rows(free)["instruction set"] == "avx2, the best of avx2, portable"
    assert rows(forced)["instruction set"].startswith("portable, forced by TUI_LLAMA_INSTRUCTION_SET")
    assert [problem.is_advice for problem in forced.problems] == [True]
    assert free.problems == same.problems == ()


def test_a_compiler_that_cannot_be_imported_is_wrong() -> None:
    section = code_section("avx2", ["avx2"], "", "abc", NO_KERNELS, "Numba needs NumPy 2.3 or less. Got NumPy 2.9")
    (problem,) = section.problems

    assert problem.text.endswith("cannot be imported: Numba needs NumPy 2.3 or less. Got NumPy 2.9.")
    assert look_at_code("").problems == ()


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import no_such_package", "No module named 'no_such_package'"),
        ("raise ImportError('too new.')", "too new"),
        ("import sys; print('a warning', file=sys.stderr)", ""),
        ("import os; os.write(2, b'\\xff!'); os._exit(3)", "\ufffd!"),
        ("import os; os._exit(3)", "it ended with status 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "it ended with status -9"),
    ],
)
def test_the_last_words_of_a_child_are_heard(program: str, words: str) -> None:
    assert last_words([sys.executable, "-c", program]) == words


def test_a_child_that_cannot_be_started_says_so_too() -> None:
    assert "No such file" in last_words(["/no/such/program"])


def test_kernels_are_counted_by_version(tmp_path: Path) -> None:
    for name, size in (("abc/a.x.o", 10), ("abc/b.y.o", 20), ("old/a.x.o", 5), ("older/a.x.o", 6), ("abc/.part", 9)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(size))

    kept = kept_kernels(tmp_path, "abc")
    section = code_section("avx2", ["avx2"], "", "abc", kept)

    assert kept == KeptKernels(2, 30, 2, 11)
    assert rows(section)["kernels"] == "2 compiled (0 kB) of version abc"
    assert rows(section)["also kept"] == "2 other versions, 0 kB"


def test_without_a_folder_no_kernel_is_compiled_and_none_is_made(tmp_path: Path) -> None:
    assert kept_kernels(tmp_path / "none", "abc") == NO_KERNELS
    assert not (tmp_path / "none").exists()


def test_this_program_has_a_version_of_its_kernels() -> None:
    assert sources_hash() in rows(look_at_code(""))["kernels"]
