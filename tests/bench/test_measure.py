"""`tui-llama bench`: what is measured and how it is told. How fast anything is, is not for tests to judge."""

import functools
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.fakes.tiny_model import make_tiny_model
from tui_llama.bench import machine_limits, measure, report
from tui_llama.bench.machine_limits import LimitSample, MachineLimits
from tui_llama.bench.measure import MeasuredModel, OperationTime, SpeedTest, make_loads, make_tests
from tui_llama.bench.roofline import Cost
from tui_llama.cli.main import command_line
from tui_llama.engine.descriptions import ModelInfo
from tui_llama.engine.requests import LoadRequest
from tui_llama.errors import SettingsError
from tui_llama.settings import Settings

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny.gguf", quantization="Q8_0")


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that are measured at once, and are not worth much."""
    monkeypatch.setattr(measure, "MachineLimits", functools.partial(MachineLimits, buffer_bytes=MEGABYTE))
    monkeypatch.setattr(machine_limits, "_PASS_SECONDS", 0.0)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command_line, ["bench", *arguments])


def a_result(**changes: object) -> measure.Result:
    info = ModelInfo(
        name="Model | one", path="model.gguf", architecture="llama", quantization="Q4_K", parameter_count=10,
        weight_bytes=2_000_000_000, vocab_size=3, context_size=512, trained_context_size=512,
        key_value_bytes_per_token=1, template_source="none",
    )  # fmt: skip
    values: dict[str, object] = {
        "test": SpeedTest(False, 10),
        "model": info,
        "load": LoadRequest("model.gguf", threads=2, batch_threads=2),
        "seconds": (1.0, 0.5, 2.0),
        "cost": Cost(weight_bytes=8_000_000_000, cache_bytes=2_000_000_000, matrix_macs=1_000_000_000),
        "limits": (LimitSample(30.0, 100.0), LimitSample(40.0, 90.0), LimitSample(40.0, 100.0)),
    }
    return measure.Result(**(values | changes))  # type: ignore[arg-type] # the names are the fields'


# --- what is measured


@pytest.mark.parametrize(
    ("test", "name"),
    [
        (SpeedTest(True, 512), "pp512"),
        (SpeedTest(False, 64), "tg64"),
        (SpeedTest(True, 512, 4096), "pp512@d4096"),
        (SpeedTest(False, 64, 4096), "tg64@d4096"),
    ],
)
def test_tests_have_the_names_of_llama_bench(test: SpeedTest, name: str) -> None:
    assert test.name == name


def test_every_count_is_tested_at_every_depth_and_the_cache_only_grows() -> None:
    names = [test.name for test in make_tests((512, 16), (64,), (100, 0, 100))]
    assert names == ["pp512", "pp16", "tg64", "pp512@d100", "pp16@d100", "tg64@d100"]


def test_a_count_of_zero_is_no_test() -> None:
    assert [test.name for test in make_tests((0,), (64,), (0,))] == ["tg64"]
    with pytest.raises(SettingsError, match="nothing to measure"):
        make_tests((0,), (0,), (0,))


def test_models_are_opened_with_every_combination_and_no_count_of_threads_is_left_open() -> None:
    loads = make_loads(["a", "b"], Settings(poll=7), (2, 1), (0, 4), (512,), ("f16",), ("auto",))
    assert [(load.model_path, load.threads, load.batch_threads) for load in loads] == [
        *(("a", 2, 2), ("a", 2, 4), ("a", 1, 1), ("a", 1, 4)),
        *(("b", 2, 2), ("b", 2, 4), ("b", 1, 1), ("b", 1, 4)),
    ]
    assert {load.poll for load in loads} == {7}
    assert make_loads(["a"], Settings(), (0,), (0,), (512,), ("f16",), ("auto",))[0].threads >= 1


def test_the_cache_is_filled_once_and_every_repetition_starts_from_there(model: Path) -> None:
    said: list[str] = []
    load = LoadRequest(str(model), context_size=64, threads=1)
    with MeasuredModel.open(load, said.append) as measured:
        for test in (SpeedTest(True, 8, 40), SpeedTest(False, 3, 40), SpeedTest(True, 8, 40), SpeedTest(True, 64)):
            assert measured.repeat(test) > 0
            assert len(measured._sequence) == test.depth
    assert said[-1] == "filling the cache: 40 of 40 tokens"


def test_a_cost_is_that_of_all_batches(model: Path) -> None:
    with MeasuredModel.open(LoadRequest(str(model), 64, threads=1, batch_tokens=16), lambda text: None) as measured:
        reading, writing = (measured.cost(SpeedTest(reads, 32, 4)) for reads in (True, False))
    assert writing.weight_bytes == 16 * reading.weight_bytes
    # All but the last tokens of two batches stay out of the output matrix and most of the last layer.
    assert writing.matrix_macs > reading.matrix_macs


# --- the arithmetic


def test_each_repetition_is_set_against_what_the_machine_showed_around_it() -> None:
    result = a_result()
    assert (result.samples_tok_s, result.median_tok_s) == ([10.0, 20.0, 5.0], 10.0)
    assert result.limit_tok_s == pytest.approx(10 / (10 / 40))
    assert result.share_of_limit == pytest.approx(10 / 30)
    assert result.is_limited_by_reading
    computing = a_result(cost=Cost(weight_bytes=1, matrix_macs=200_000_000_000))
    assert computing.limit_tok_s == pytest.approx(10 / 2)
    assert not computing.is_limited_by_reading
    with_tiles = a_result(
        cost=Cost(weight_bytes=1, matrix_macs=200_000_000_000), limits=(LimitSample(30.0, 100.0, 400.0),) * 3
    )
    assert with_tiles.limit_tok_s == pytest.approx(10 / 0.5)
    assert with_tiles.share_of_limit == pytest.approx(10 / 20)
    assert with_tiles.vector_limit_tok_s == pytest.approx(10 / 2)
    assert with_tiles.share_of_vector_limit == pytest.approx(2.0)


# --- what is printed


def test_the_table_has_a_column_for_what_varies_and_none_for_what_does_not() -> None:
    loads = [LoadRequest("m", threads=2, batch_tokens=size) for size in (256, 512)]
    assert "| batch |" in report.Table(loads).head()
    assert "| batch |" not in report.Table(loads[:1]).head()
    assert "| threads |" in report.Table(loads[:1]).head()


def test_a_row_of_the_table_shows_samples_median_and_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "HAS_TILE_MULTIPLIER", False)
    result = a_result()
    table = report.Table([result.load])
    assert (
        table.row(result) == "| Model \\| one Q4_K 2.00 GB | 2 | tg10 | 10.0 | 10.0 20.0 5.0 | 40.0 (read) | 33 % |\n"
    )
    monkeypatch.setattr(report, "HAS_TILE_MULTIPLIER", True)
    table = report.Table([result.load])
    assert "of vector limit" in table.head()
    assert table.row(result).endswith("| 33 % | 33 % |\n")


def test_below_the_table_stand_the_limits_and_the_profiles() -> None:
    times = (OperationTime("norm", 0.25, 0, 0), OperationTime("matrix", 0.75, 3_000_000_000, 6_000_000_000))
    text = report.foot([a_result(), a_result(profile=times)])
    assert "30.0 … 40.0 GB/s" in text
    assert "90.0 … 100.0 GMAC/s of vector" in text
    assert "tg10: 100.000 ms a token" in text
    assert text.index("| matrix | 75.000 | 75.0 % | 4.0 | 8 |") < text.index("| norm | 25.000 | 25.0 % |  |  |")


def test_the_command_prints_a_table(model: Path, small_limits: None) -> None:
    result = run("-m", str(model), "-p", "16,4", "-n", "2", "-d", "0,8", "-r", "2", "-t", "1", "--profile")
    assert result.exit_code == 0
    rows = [line.split(" | ") for line in result.stdout.splitlines() if line.startswith("| Tiny")]
    assert [row[2] for row in rows] == ["pp16", "pp4", "tg2", "pp16@d8", "pp4@d8", "tg2@d8"]
    assert all(len(row[4].split()) == 2 for row in rows)
    assert result.stdout.count("| operation |") == len(rows)
    assert result.stderr == ""


def test_the_command_prints_json_for_every_model_and_thread_count(model: Path, small_limits: None) -> None:
    arguments = ("-m", str(model), "-m", str(model), "-p", "4", "-n", "0", "-r", "3", "-t", "1,2", "-o", "json")
    result = run(*arguments, "--profile")
    assert (result.exit_code, result.stderr) == (0, "")
    objects = json.loads(result.stdout)
    assert [(each["test"], each["threads"], each["model_path"]) for each in objects] == [
        ("pp4", threads, str(model)) for _ in range(2) for threads in (1, 2)
    ]
    for each in objects:
        assert len(each["samples_tok_s"]) == 3
        assert len(each["read_gb_s"]) == len(each["dot_gmac_s"]) == 3
        assert each["limit_tok_s"] > 0
        matrices = [time for time in each["profile"] if time["operation"] == "matrix_q8_0"]
        assert sum(time["macs"] for time in matrices) == 4 * each["matrix_macs_per_token"]


@pytest.mark.parametrize(
    "arguments",
    [
        *(("-p", "x"), ("-p", "-1"), ("-p", ""), ("-n", "1,,2"), ("-d", "-5"), ("-t", "1.5"), ("--batch", "0")),
        *(("-r", "0"), ("-o", "csv"), ("--cache-type", "f16,q9")),
    ],
)
def test_arguments_that_make_no_sense_are_refused(model: Path, arguments: tuple[str, ...]) -> None:
    assert run("-m", str(model), *arguments).exit_code == 2


def test_a_model_that_is_not_there_is_an_error_in_words(tmp_path: Path, small_limits: None) -> None:
    result = run("-m", str(tmp_path / "missing.gguf"))
    assert result.exit_code == 1
    assert "missing.gguf" in result.stderr
