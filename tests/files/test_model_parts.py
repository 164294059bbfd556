from pathlib import Path

import pytest

from tui_llama.files.model_parts import PartName, all_parts, first_part, known_by, part_name, without_part


def test_a_part_is_known_by_its_name() -> None:
    assert part_name("a-b-00002-of-00012.GGUF") == PartName("a-b", 2, 12, ".GGUF")
    assert part_name("folder/a-00001-of-00002") == PartName("folder/a", 1, 2, "")


@pytest.mark.parametrize(
    "name",
    [
        *("a.gguf", "a-00000-of-00002.gguf", "a-00003-of-00002.gguf", "a-00001-of-00001.gguf", "a-1-of-2.gguf"),
        *("a-00001-of-00513.gguf", "a-00001-of-00002.gguf.incomplete", "a-00001-of-00002.bin"),
    ],
)
def test_a_name_of_another_form_is_no_part(name: str) -> None:
    assert part_name(name) is None
    assert all_parts(Path(name)) == (Path(name),)
    assert first_part(Path(name)) == Path(name)


def test_all_parts_have_the_same_name_but_for_the_number() -> None:
    paths = all_parts(Path("x/a-00002-of-00003.gguf"))
    assert list(map(str, paths)) == [f"x/a-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    assert first_part(paths[2]) == paths[0]


def test_a_model_is_known_by_its_first_part_where_that_is_there(tmp_path: Path) -> None:
    first, second = all_parts(tmp_path / "a-00002-of-00002.gguf")
    second.touch()
    assert known_by(second) == second
    first.touch()
    assert known_by(second) == first
    assert known_by(tmp_path / "none.gguf") == tmp_path / "none.gguf"


def test_numbers_are_taken_from_a_name() -> None:
    assert without_part("a-00002-of-00003") == without_part("a-00001-of-00001.gguf") == without_part("a") == "a"
