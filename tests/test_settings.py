"""Every setting is declared once; what a file or a variable says is checked before anything uses it."""

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.refused_settings import refused
from tui_llama.engine.requests import Overflow, OverflowMode
from tui_llama.errors import SettingsError
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.settings import SETTINGS, Settings
from tui_llama.settings_sources import (
    SettingValue,
    Source,
    describe_settings,
    examine_values,
    load_settings,
    load_values,
)
from tui_llama.text_safety import sanitize


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def test_without_a_file_everything_is_as_declared(file: Path) -> None:
    settings = load_settings(file, {})

    assert settings == Settings()
    assert settings.sampling == SamplingSettings()


def test_the_file_sets_what_it_names_and_nothing_else(file: Path) -> None:
    file.write_text('context_size = 4096\nsystem_prompt = "Be brief."\n[sampling]\ntemperature = 0\ntop_k = 7\n')

    settings = load_settings(file, {})

    assert settings == Settings(
        context_size=4096, system_prompt="Be brief.", sampling=SamplingSettings(temperature=0.0, top_k=7)
    )
    assert isinstance(settings.sampling.temperature, float)


def test_reading_ahead_is_on_until_it_is_turned_off(file: Path) -> None:
    assert load_settings(file, {}).read_ahead == "on"
    assert load_settings(file, {"TUI_LLAMA_READ_AHEAD": "off"}).read_ahead == "off"
    assert "read_ahead" in str(refused(file, 'read_ahead = "sometimes"'))


def test_the_environment_wins_over_the_file(file: Path) -> None:
    file.write_text("threads = 2\nbatch_tokens = 64\n")
    environment = {
        "TUI_LLAMA_THREADS": "3",
        "TUI_LLAMA_SAMPLING_MIN_P": "0.25",
        "TUI_LLAMA_HOME": "/x",
        "TERM": "y",
    }

    settings = load_settings(file, environment)

    assert (settings.threads, settings.batch_tokens, settings.sampling.min_p) == (3, 64, 0.25)


def test_minus_one_leaves_open_what_can_be_left_open(file: Path) -> None:
    file.write_text("max_tokens = -1\n[sampling]\nseed = 5\n")

    settings = load_settings(file, {"TUI_LLAMA_SAMPLING_SEED": "-1"})

    assert (settings.max_tokens, settings.sampling.seed) == (None, None)


def test_what_is_done_about_a_full_context_is_one_request(file: Path) -> None:
    file.write_text('context_overflow = "extend"\nkeep_tokens = -1\ngroup_size = 8\ngroup_width = 64\n')

    assert load_settings(file, {}).overflow() == Overflow(OverflowMode.EXTEND, -1, 8, 64)
    assert Settings().overflow() == Overflow()


def test_every_setting_of_the_program_is_declared() -> None:
    general = set(Settings.__struct_fields__) - {"sampling", "given", "servers", "models"}
    sampling = {f"sampling.{name}" for name in SamplingSettings.__struct_fields__}

    assert set(SETTINGS) == general | sampling


def test_every_default_is_allowed() -> None:
    for setting in SETTINGS.values():
        given_value = -1 if setting.default is None else setting.default
        assert setting.check(given_value, "here") == setting.default


def uncommented(text: str) -> str:
    return re.sub(r"^#(?=\w)", "", text, flags=re.MULTILINE)


def test_the_explanation_is_a_settings_file_of_the_defaults(file: Path) -> None:
    file.write_text(uncommented(describe_settings()))

    settings = load_settings(file, {})

    assert settings == Settings()
    assert settings.given == set(SETTINGS)


def test_the_explanation_names_range_and_variable_of_each_setting() -> None:
    text = describe_settings()

    assert all(setting.explanation in text and setting.variable in text for setting in SETTINGS.values())
    assert "# a number from 0 to 1; TUI_LLAMA_SAMPLING_TOP_P\n#top_p = 0.95\n" in text
    assert "# a finite number above 0; TUI_LLAMA_SAMPLING_REPEAT_PENALTY\n" in text
    assert "# a whole number from 0 to 2147483647, or -1; TUI_LLAMA_MAX_TOKENS\n#max_tokens = -1\n" in text


# --- where values come from


def test_each_value_tells_where_it_comes_from(file: Path) -> None:
    file.write_text("threads = 2\nbatch_tokens = 64\n[sampling]\ntop_k = 40\n")

    values = {each.setting.name: each for each in load_values(file, {"TUI_LLAMA_THREADS": "3"})}

    assert list(values) == list(SETTINGS)
    assert {name: (each.value, each.source) for name, each in values.items() if each.source is not Source.DEFAULT} == {
        "threads": (3, Source.VARIABLE),
        "batch_tokens": (64, Source.FILE),
        "sampling.top_k": (40, Source.FILE),
    }
    words = [values[name].source_words for name in ("threads", "batch_tokens", "theme")]
    assert words == ["TUI_LLAMA_THREADS", "the settings file", "the default"]


def test_what_was_set_to_its_default_was_set_all_the_same(file: Path) -> None:
    file.write_text("[sampling]\ntop_k = 40\n")

    settings = load_settings(file, {"TUI_LLAMA_SAMPLING_SEED": "-1"})

    assert settings.given == {"sampling.top_k", "sampling.seed"}
    assert settings == Settings() and hash(settings) == hash(Settings())
    assert Settings().given == frozenset()


def test_everything_that_is_wrong_can_be_known_at_once(file: Path) -> None:
    file.write_text("thread = 1\nbatch_tokens = 64\npoll = 101\n")

    values, errors = examine_values(file, {"TUI_LLAMA_THREADS": "many", "TUI_LLAMA_POLL": "7"})

    assert [str(error).removeprefix(f"{file}: ") for error in errors] == [
        "there is no setting 'thread'",
        "poll: 101 is not allowed",
        "TUI_LLAMA_THREADS: 'many' is not a whole number",
    ]
    found = {each.setting.name: each.value for each in values}
    assert (found["batch_tokens"], found["poll"], found["threads"]) == (64, 7, 0)


def test_a_file_that_is_no_toml_leaves_what_the_environment_says(file: Path) -> None:
    file.write_text("threads 3\n")

    values, errors = examine_values(file, {"TUI_LLAMA_THREADS": "3"})

    assert len(errors) == 1 and "not valid TOML" in str(errors[0])
    assert [each.value for each in values if each.setting.name == "threads"] == [3]


def test_a_file_that_is_nested_without_end_is_refused(file: Path) -> None:
    assert "not valid TOML" in str(refused(file, "threads = " + "[" * 100_000))


def test_what_is_set_is_written_out_with_its_source_and_its_default(file: Path) -> None:
    file.write_text("[sampling]\ntop_k = 7\nseed = 5\n")

    lines = describe_settings(load_values(file, {"TUI_LLAMA_THEME": "nord"})).splitlines()

    assert 'theme = "nord"  # from TUI_LLAMA_THEME; the default is ""' in lines
    assert "top_k = 7  # from the settings file; the default is 40" in lines
    assert "seed = 5  # from the settings file; the default is -1" in lines
    assert "#threads = 0" in lines and lines.count("[sampling]") == 1


@given(data=st.data())
def test_saved_as_the_settings_file_the_text_changes_nothing(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    values = []
    for setting in SETTINGS.values():
        source = data.draw(st.sampled_from([Source.DEFAULT, Source.FILE]))
        if source is Source.FILE and setting.kind is str and setting.range is None:
            values.append(SettingValue(setting, data.draw(st.text(st.characters(exclude_categories=["Cs"]))), source))
        else:
            values.append(SettingValue(setting, setting.default, source))
    file = tmp_path_factory.getbasetemp() / "described.toml"
    text = describe_settings(values)
    file.write_text(text, encoding="utf-8", newline="")

    assert load_values(file, {}) == values
    assert sanitize(text) == text


def test_bytes_that_are_no_text_do_not_spoil_the_file(file: Path) -> None:
    file.write_text(describe_settings(load_values(file, {"TUI_LLAMA_SYSTEM_PROMPT": "a\udcff🦙"})), encoding="utf-8")

    assert load_settings(file, {}).system_prompt == "a\ufffd🦙"


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ("contextsize = 1", "Did you mean context_size?"),
        ("context-size = 1", "Did you mean context_size?"),
        ("top_k = 1", "Did you mean sampling.top_k?"),
        ("[sampling]\ntemprature = 1", "Did you mean sampling.temperature?"),
        ("[sampling]\nthreads = 1\n", "Did you mean threads?"),
        ("[general]\nthreads = 1", "Known settings: theme, "),
        ("xyzzy = 1", "Known settings: theme, "),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(file: Path, content: str, hint: str) -> None:
    error = refused(file, content)

    assert str(error).startswith(f"{file}: there is no setting ")
    assert error.hint.startswith(hint)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("numa = 'mirror'", "numa: 'mirror' is not allowed"),
        ("context_overflow = 'explode'", "context_overflow: 'explode' is not allowed"),
        ("keep_tokens = -2", "keep_tokens: -2 is not allowed"),
        ("threads = 'two'", "threads: 'two' is not a whole number"),
        ("threads = true", "threads: True is not a whole number"),
        ("threads = 2.0", "threads: 2.0 is not a whole number"),
        ("threads = -1", "threads: -1 is not allowed"),
        ("batch_tokens = 0", "batch_tokens: 0 is not allowed"),
        (f"context_size = {2**40}", f"context_size: {2**40} is not allowed"),
        (f"threads = {10**400}", f"threads: 1{'0' * 39}… is not allowed"),
        ("max_tokens = -2", "max_tokens: -2 is not allowed"),
        ("theme = 3", "theme: 3 is not text"),
        ("theme = ['a']", "theme: ['a'] is not text"),
        ("[sampling]\ntop_p = 1.5", "sampling.top_p: 1.5 is not allowed"),
        ("[sampling]\nrepeat_penalty = 0.0", "sampling.repeat_penalty: 0.0 is not allowed"),
        ("[sampling]\ntemperature = nan", "sampling.temperature: nan is not allowed"),
        ("[sampling]\nfrequency_penalty = inf", "sampling.frequency_penalty: inf is not allowed"),
        (f"[sampling]\ntemperature = {10**400}", "sampling.temperature: inf is not allowed"),
        ("[sampling]\ntemperature = false", "sampling.temperature: False is not a number"),
        ("[sampling]\nseed = true", "sampling.seed: True is not a whole number"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_file_key_and_value(file: Path, content: str, message: str) -> None:
    error = refused(file, content)

    assert str(error) == f"{file}: {message}"
    assert error.hint


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("THREADS", "many", "'many' is not a whole number"),
        ("THREADS", "2.5", "'2.5' is not a whole number"),
        ("THREADS", "-1", "-1 is not allowed"),
        ("SAMPLING_SEED", "9" * 400, f"{'9' * 40}… is not allowed"),
        ("SAMPLING_TOP_P", "x", "'x' is not a number"),
        ("SAMPLING_TOP_P", "nan", "nan is not allowed"),
    ],
)
def test_a_variable_that_makes_no_sense_is_refused_by_name(file: Path, name: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(file, {f"TUI_LLAMA_{name}": value})

    assert str(caught.value) == f"TUI_LLAMA_{name}: {message}"


def test_a_section_that_is_none_is_named(file: Path) -> None:
    error = refused(file, "sampling = 3")

    assert str(error) == f"{file}: sampling must be a section"


def test_a_file_that_is_no_toml_is_refused_with_the_place(file: Path) -> None:
    assert "line 2" in str(refused(file, "threads = 2\nthreads 3\n"))


def test_a_file_that_is_no_text_is_refused(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")

    with pytest.raises(SettingsError, match="not valid TOML"):
        load_settings(file, {})


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load_settings(tmp_path, {})


@given(
    st.sampled_from(sorted(SETTINGS)),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()),
)
def test_whatever_is_given_the_result_is_allowed_or_it_is_refused(name: str, value: object) -> None:
    setting = SETTINGS[name]
    try:
        checked = setting.check(value, "here")
    except SettingsError:
        return

    assert type(checked) is setting.kind or checked is None is setting.default
    if name.startswith("sampling."):
        sampling = msgspec.structs.asdict(SamplingSettings()) | {name.removeprefix("sampling."): checked}
        assert msgspec.convert(sampling, SamplingSettings)


@pytest.mark.parametrize("name", ["loop", "x" * 300, "file"])
def test_where_no_folder_can_be_there_are_no_settings(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("threads = 2\n")

    assert load_settings(tmp_path / name / "settings.toml", {}) == Settings()
