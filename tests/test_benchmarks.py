"""The benchmarks start, and their eyes see; what they measure is not for tests to judge."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import quiet
from benchmarks.compare import turns
from benchmarks.comparison_table import (
    README_BEGIN,
    README_END,
    Comparison,
    StartComparison,
    as_json,
    describe,
    readme_table,
    write_into,
)
from benchmarks.peer import LlamaBench, LlamaCppPython
from benchmarks.terminal import Terminal
from tests.patience import HANG_SECONDS
from tui_llama.bench.machine_limits import LimitSample
from tui_llama.bench.measure import Result, SpeedTest
from tui_llama.bench.roofline import Cost
from tui_llama.engine.descriptions import ModelInfo
from tui_llama.engine.requests import LoadRequest

ROOT = Path(__file__).parents[1]
PROGRAMS = sorted(
    path.stem for path in (ROOT / "benchmarks").glob("*.py") if "def main(" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_benchmark_tells_how_it_is_used(name: str) -> None:
    command = [sys.executable, "-m", f"benchmarks.{name}", "--help"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "usage:" in result.stdout


def test_the_terminal_sees_what_a_program_draws_between_its_escape_sequences() -> None:
    command = ["sh", "-c", r"printf '\033[1mre\033[0mady'; read line; printf 'heard %s' $line; cat"]
    with Terminal(command, dict(os.environ)) as terminal:
        assert terminal.wait_for("ready", HANG_SECONDS) is not None
        assert not terminal.has_drawn("heard")
        terminal.forget()
        terminal.type("you\n")
        assert terminal.wait_for("heard you", HANG_SECONDS) is not None


def test_the_terminal_notices_that_a_program_has_ended() -> None:
    with Terminal(["true"], dict(os.environ)) as terminal:
        assert terminal.wait_for("never", HANG_SECONDS) is None
        assert not terminal.has_drawn_anything()


# --- the comparison with llama.cpp

FAKE_LLAMA_BENCH = """#!{python}
import json, sys
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
count = int(options["-p"]) or int(options["-n"])
print(json.dumps([{{"build_commit": "abc", "build_number": 7, "samples_ns": [count * 10**9] * int(options["-r"])}}]))
"""
FAKE_INTERPRETER = """#!{python}
import json, sys
print(json.dumps({{"version": "1.2", "system": sys.argv[2]}}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if request["depth"] == 99:
        sys.exit(3)
    print(json.dumps({{"seconds": request["tokens"] + request["flash"]}}), flush=True)
"""


def program(path: Path, text: str) -> Path:
    path.write_text(text.format(python=sys.executable))
    path.chmod(0o755)
    return path


def comparison() -> Comparison:
    info = ModelInfo(
        name="One", path="/models/one.gguf", architecture="llama", quantization="Q4_K", parameter_count=10,
        weight_bytes=10, vocab_size=3, context_size=512, trained_context_size=512, key_value_bytes_per_token=1,
        template_source="none",
    )  # fmt: skip
    limits = (LimitSample(40.0, 100.0), LimitSample(40.0, 200.0), LimitSample(30.0, 200.0))
    load = LoadRequest("/models/one.gguf", threads=2)
    ours = Result(SpeedTest(False, 10), info, load, (0.5, 1.0, 0.25), Cost(weight_bytes=8 * 10**9), limits)
    return Comparison(ours, (2.0, 1.0, 4.0), flash=True)


def test_the_programs_take_turns_and_who_begins_changes() -> None:
    assert list(turns(3, one_by_one=True)) == [(False, 1), (True, 1), (True, 1), (False, 1), (False, 1), (True, 1)]


def test_a_program_that_loads_the_model_each_time_has_its_turn_in_the_middle() -> None:
    assert list(turns(5, one_by_one=False)) == [(True, 3), (False, 5), (True, 2)]
    assert list(turns(1, one_by_one=False)) == [(True, 1), (False, 1)]


def test_llama_bench_is_asked_for_one_test_at_a_time(tmp_path: Path) -> None:
    theirs = LlamaBench(program(tmp_path / "llama-bench", FAKE_LLAMA_BENCH), Path("model.gguf"), 2)
    assert theirs.seconds(SpeedTest(True, 5, 10), 3, flash=True) == [5.0, 5.0, 5.0]
    assert theirs.seconds(SpeedTest(False, 4), 1, flash=False) == [4.0]
    assert theirs.name == "llama-bench abc (7)"


def test_a_llama_bench_that_fails_is_quoted(tmp_path: Path) -> None:
    failing = program(tmp_path / "llama-bench", "#!{python}\nraise SystemExit('no such model')")
    with pytest.raises(SystemExit, match="no such model"):
        LlamaBench(failing, Path("model.gguf"), 2).seconds(SpeedTest(True, 5), 1, flash=True)


def test_the_library_stays_open_between_repetitions_and_tells_of_its_end(tmp_path: Path) -> None:
    theirs = LlamaCppPython(program(tmp_path / "python", FAKE_INTERPRETER), Path("model.gguf"), 2, 512)
    assert (theirs.name, theirs.system) == ("llama-cpp-python 1.2", "model.gguf")
    assert theirs.seconds(SpeedTest(True, 5), 2, flash=True) == [6, 6]
    assert theirs.seconds(SpeedTest(False, 4), 1, flash=False) == [4]
    with pytest.raises(SystemExit, match=r"status 3.*model.gguf"):
        theirs.seconds(SpeedTest(True, 5, 99), 1, flash=True)
    theirs.close()


def test_a_comparison_shows_medians_ratio_and_limit() -> None:
    start = StartComparison("one", our_seconds=(1.0, 1.5, 1.25), their_seconds=(2.0, 2.5, 3.0))
    table = readme_table([comparison()], [start], "Conditions.")
    assert table.startswith("Conditions.\n\n| model |")
    assert "| one (Q4_K) | tg10 | 5.0 | 20.0 | 4.00 | 50.0 | 40 % | 40 % |" in table
    assert "| one | start to first token | 2.50 s | 1.25 s | 2.00 | | | |" in table
    assert "[5.0 10.0 2.5]" in describe(comparison())
    row = json.loads(as_json([comparison()], [start], "Conditions."))["tests"][0]
    assert (row["their_samples_tok_s"], row["our_samples_tok_s"]) == ([5.0, 10.0, 2.5], [20.0, 10.0, 40.0])


def test_the_table_goes_between_the_markers(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{README_BEGIN}\nold\n{README_END}\nafter\n")
    write_into(readme, "new\n")
    assert readme.read_text() == f"before\n{README_BEGIN}\nnew\n{README_END}\nafter\n"
    readme.write_text("nothing")
    with pytest.raises(SystemExit, match="no lines"):
        write_into(readme, "new\n")


def test_the_readme_has_the_markers() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert 0 <= text.index(README_BEGIN) < text.index(README_END)


# --- measuring while it is quiet --------------------------------------------------------------------------------------


def test_stolen_time_is_a_part_of_the_wanted_time() -> None:
    before, after = (100, 0, 0, 900, 0, 0, 0, 0, 5, 0), (160, 0, 0, 990, 10, 0, 0, 20, 65, 0)
    assert quiet.stolen_share(before, after) == 20 / 80
    assert quiet.stolen_share(before, before) == quiet.stolen_share((), ()) == 0.0


@pytest.mark.parametrize(
    ("stolen", "result", "attempts"), [([1], 1, 1), ([9, 2], 2, 2), ([9, 7, 8, 9], 2, 4), ([9, 9, 3], 3, 3)]
)
def test_what_is_disturbed_is_measured_again(
    monkeypatch: pytest.MonkeyPatch, stolen: list[int], result: int, attempts: int
) -> None:
    ticks = iter([each for taken in stolen for each in ((0,) * 10, (100 - taken, 0, 0, 0, 0, 0, 0, taken, 0, 0))])
    monkeypatch.setattr(quiet, "_ticks", lambda: next(ticks))
    monkeypatch.setattr(quiet, "_wait_until_quiet", lambda: None)
    samples = iter(range(1, 10))
    assert quiet.undisturbed(lambda: next(samples)) == result
    assert next(samples) == attempts + 1
