"""Single settings are changed in the settings file, and all else in it stays."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_llama.errors import SettingsError
from tui_llama.settings import SETTINGS
from tui_llama.settings_changes import remove_value, set_value
from tui_llama.settings_sources import Source, describe_settings, load_models, load_settings, load_values

CONTEXT, PROMPT, TEMPERATURE = SETTINGS["context_size"], SETTINGS["system_prompt"], SETTINGS["sampling.temperature"]
CONTENT = '''# My settings.
context_size = 4096  # enough for me
system_prompt = """
context_size = 3
Be brief."""

# How it writes:
[sampling]
top_k = 7 # few

[servers.home]
url = "http://127.0.0.1:8080/v1"
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(CONTENT)
    return path


def test_a_value_is_replaced_and_the_comment_behind_it_stays(file: Path) -> None:
    set_value(file, CONTEXT, 8192)

    assert file.read_text() == CONTENT.replace("4096", "8192")


def test_a_text_of_several_lines_is_replaced_whole(file: Path) -> None:
    set_value(file, PROMPT, "Rhyme.\nAlways.")

    assert load_settings(file, {}).system_prompt == "Rhyme.\nAlways."
    assert load_settings(file, {}).context_size == 4096
    assert "# How it writes:\n[sampling]\ntop_k = 7 # few\n" in file.read_text()


def test_a_new_value_comes_to_the_end_of_its_section(file: Path) -> None:
    set_value(file, TEMPERATURE, 0.5)
    set_value(file, SETTINGS["threads"], 3)

    assert "top_k = 7 # few\ntemperature = 0.5\n\n[servers.home]" in file.read_text()
    assert 'Be brief."""\nthreads = 3\n\n# How it writes:' in file.read_text()


def test_a_new_section_comes_to_the_end_of_the_file(file: Path) -> None:
    set_value(file, TEMPERATURE, 0.5, "a model.gguf")
    set_value(file, CONTEXT, 1024, "a model.gguf")

    assert file.read_text().startswith(CONTENT)
    settings = load_settings(file, {})
    assert settings.for_model("/x/a model.gguf").sampling.temperature == 0.5
    assert settings.for_model("/x/a model.gguf").context_size == 1024
    assert settings.context_size == 4096


def test_a_value_that_is_removed_has_its_default(file: Path) -> None:
    remove_value(file, CONTEXT)
    remove_value(file, TEMPERATURE)  # which is not there

    assert file.read_text() == CONTENT.replace("context_size = 4096  # enough for me\n", "")


def test_the_file_is_made_if_there_is_none(tmp_path: Path) -> None:
    file = tmp_path / "config" / "settings.toml"
    set_value(file, TEMPERATURE, 0.5)
    set_value(file, CONTEXT, 1024)

    assert load_settings(file, {}).context_size == 1024
    assert load_settings(file, {}).sampling.temperature == 0.5


def test_on_the_page_of_all_settings_a_value_takes_the_place_of_its_default(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(describe_settings())
    set_value(file, TEMPERATURE, 0.5)

    assert "#temperature = 0.8\ntemperature = 0.5\n" in file.read_text()


@pytest.mark.parametrize("content", ["sampling = {top_k = 7}\n", "sampling.top_k = 7\n"])
def test_other_ways_to_write_a_section_are_kept_or_refused_but_never_spoiled(tmp_path: Path, content: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(content)
    try:
        set_value(file, SETTINGS["sampling.top_k"], 9)
    except SettingsError as error:
        assert "by hand" in error.hint
        assert file.read_text() == content
    else:
        assert load_settings(file, {}).sampling.top_k == 9


def test_a_file_that_is_no_toml_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("context_size = ")

    with pytest.raises(SettingsError, match="not valid TOML"):
        set_value(file, CONTEXT, 1)
    assert file.read_text() == "context_size = "


def test_a_protected_file_is_left_alone(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)

    with pytest.raises(SettingsError, match="protected"):
        set_value(file, CONTEXT, 1)
    assert file.read_text() == CONTENT


CHANGES = st.lists(
    st.tuples(
        st.sampled_from([CONTEXT, PROMPT, TEMPERATURE]),
        st.sampled_from(["", "a.gguf", 'o"dd\n.gguf']),
        st.integers(0, 5),
        st.text(max_size=6),
    ),
    max_size=6,
)


@given(CHANGES, st.booleans())
def test_whatever_is_changed_the_file_says_exactly_that(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[object, str, int, str]], has_windows_ends: bool
) -> None:
    file = tmp_path_factory.mktemp("changes") / "settings.toml"
    file.write_bytes((CONTENT.replace("\n", "\r\n") if has_windows_ends else CONTENT).encode())
    wanted: dict[tuple[str, str], object] = {}
    for setting, model_name, number, text in changes:
        if setting is PROMPT:
            set_value(file, PROMPT, text)
            wanted["", PROMPT.name] = text
        elif setting is CONTEXT:
            set_value(file, CONTEXT, number, model_name)
            wanted[model_name, CONTEXT.name] = number
        elif number == 0:
            remove_value(file, TEMPERATURE, model_name)
            wanted.pop((model_name, TEMPERATURE.name), None)
        else:
            set_value(file, TEMPERATURE, float(number), model_name)
            wanted[model_name, TEMPERATURE.name] = float(number)
    found = {("", each.setting.name): each.value for each in load_values(file, {}) if each.source is Source.FILE}
    found |= {(model.model_name, name): value for model in load_models(file) for name, value in model.values}
    kept = {("", "context_size"): 4096, ("", "system_prompt"): found["", "system_prompt"], ("", "sampling.top_k"): 7}
    assert found == kept | wanted
    assert "# enough for me" in file.read_text()
