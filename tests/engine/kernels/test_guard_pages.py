"""No kernel reads or writes a byte outside of its buffers: each works between pages whose every access is a fault.

A fault ends the process, so the cases of a group run in a process of their own, and the test says which case ended it.
"""

import ast
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.engine.kernels.guarded_case import Case
from tests.engine.kernels.guarded_cases import GROUPS, overrun
from tui_llama.bench.machine_limits import HAS_TILE_MULTIPLIER
from tui_llama.engine.layouts.weight_tile import FORMATS
from tui_llama.engine.toolchain.loader import load_kernels

REPOSITORY = Path(__file__).resolve().parents[3]
KERNELS = REPOSITORY / "tui_llama" / "engine" / "kernels"
_MOST_FAILURES = 5  # each costs another start of the program


def failures_of(group: str, cases: Sequence[Case]) -> list[str]:
    """Runs the cases of a group; says of those that did not end well how they ended."""
    load_kernels(kernel for case in cases for kernel in case.kernels)
    failures: list[str] = []
    first = 0
    while first < len(cases) and len(failures) < _MOST_FAILURES:
        command = [sys.executable, "-X", "faulthandler", "-m", "tests.engine.kernels.guarded_cases", group, str(first)]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        begun = [int(line) for line in done.stdout.split()]
        assert begun == list(range(first, first + len(begun))), done.stdout + done.stderr
        assert begun, done.stderr
        first = begun[-1] + 1
        if done.returncode != 0:
            end = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit status {done.returncode}"
            failures.append(f"{cases[begun[-1]]}: {end}\n{done.stderr}")
    return failures


@pytest.mark.parametrize("group", GROUPS)
def test_no_kernel_leaves_its_buffers(group: str) -> None:
    failures = failures_of(group, list(GROUPS[group]()))
    assert not failures, "\n".join(failures)


def test_a_kernel_that_leaves_its_buffers_is_named_and_the_others_still_run() -> None:
    cases = list(overrun())
    failures = failures_of("overrun", cases)
    assert [failure.partition("\n")[0].rpartition(": ")[0] for failure in failures] == [
        str(case) for case in cases if "8 bytes too many" in case.sizes
    ]
    assert all("SIGSEGV" in failure or "SIGBUS" in failure for failure in failures)


@pytest.mark.parametrize("columns", [32, 256])
@pytest.mark.slow
def test_no_kernel_for_amx_leaves_its_buffers(columns: int) -> None:
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.engine.kernels.guarded_amx", str(columns)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    begun = done.stdout.splitlines()
    assert done.returncode == 0, f"{begun[-1:]} ended with {done.returncode}\n{done.stderr}"
    kernels = {f"matrix_{layout.name.lower()}" for layout in FORMATS.values() if layout.columns == columns}
    assert {case.partition(",")[0] for case in begun} == kernels | {f"quantize_{columns}"}
    assert len(begun) == len(set(begun))


def test_every_kernel_is_among_the_cases() -> None:
    called = {kernel.name for make_cases in GROUPS.values() for case in make_cases() for kernel in case.kernels}
    absent = set() if HAS_TILE_MULTIPLIER else {"multiply_pass_tiles"}
    assert called == set(_kernel_names()) - absent


def _kernel_names() -> Iterator[str]:
    """The functions that are compiled: public, undecorated, and with whole numbers only as arguments."""
    for path in KERNELS.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and not node.decorator_list:
                kinds = {ast.unparse(argument.annotation) for argument in node.args.args if argument.annotation}
                result = ast.unparse(node.returns) if node.returns else ""
                if kinds == {"int"} and result in ("None", "int"):
                    yield node.name
