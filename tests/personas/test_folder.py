"""The folder of personas: found by name, written, removed; broken files are lines, and names are names of files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_llama import paths
from tui_llama.errors import SettingsError
from tui_llama.personas.folder import (
    Personas,
    delete_persona,
    find_persona,
    has_persona,
    persona_name,
    read_personas,
    save_persona,
)
from tui_llama.personas.persona import Persona


def test_without_a_folder_there_is_none(tmp_path: Path) -> None:
    assert read_personas(tmp_path / "none") == Personas((), ())


def test_what_is_saved_lies_beside_the_settings_and_is_found_again() -> None:
    persona = Persona("Pirate", system_prompt="You are a pirate.")
    file = save_persona(persona)
    assert file == paths.settings_file().parent / "personas" / "Pirate.toml"
    assert read_personas().personas == (persona,)
    assert [find_persona(name) for name in ("Pirate", "pirate", "PIR")] == [persona] * 3
    delete_persona("Pirate")
    assert not has_persona("Pirate")
    delete_persona("Pirate")


def test_a_broken_file_is_one_line_and_the_others_are_there(tmp_path: Path) -> None:
    save_persona(Persona("good"), tmp_path)
    (tmp_path / "bad.toml").write_text("system_prompt = 3")
    (tmp_path / "worse.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "huge.toml").write_bytes(b"#" * (1 << 20) + b"#")
    (tmp_path / ".hidden.toml").write_text("x")
    (tmp_path / "notes.txt").write_text("x")
    found = read_personas(tmp_path)
    assert [each.name for each in found.personas] == ["good"]
    assert found.problems == (
        "bad.toml: system_prompt is not text",
        "folder.toml: not a file",
        "huge.toml: larger than 1 MiB",
        "worse.toml: not UTF-8 text",
    )
    with pytest.raises(SettingsError, match=r"bad\.toml: system_prompt is not text"):
        find_persona("bad", tmp_path)


def test_a_name_that_several_have_is_refused_with_them(tmp_path: Path) -> None:
    for name in ("code", "coder", "cook"):
        save_persona(Persona(name), tmp_path)
    assert find_persona("code", tmp_path).name == "code"
    with pytest.raises(SettingsError, match="code, coder, cook"):
        find_persona("co", tmp_path)
    with pytest.raises(SettingsError) as missing:
        find_persona("poet", tmp_path)
    assert "cook" in missing.value.hint


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("My persona", "My persona"),
        ("../../etc/passwd", "etc-passwd"),
        ("a/b\\c:d", "a-b-c-d"),
        (" .hidden ", "hidden"),
        ("Übersetzer\x1b[31m", "Übersetzer-31m"),
        ("NUL", "NUL-"),
        ("x" * 99, "x" * 60),
    ],
)
def test_a_name_becomes_one_that_every_system_takes(text: str, name: str) -> None:
    assert persona_name(text) == name


@given(st.text())
def test_any_name_stays_inside_the_folder(text: str) -> None:
    try:
        name = persona_name(text)
    except SettingsError:
        return
    assert persona_name(name) == name
    assert Path("folder", f"{name}.toml").parent == Path("folder")
    assert name[0] not in " ."
    assert name.isprintable()
