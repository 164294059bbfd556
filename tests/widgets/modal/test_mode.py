"""The commands of vim that there are, on a plain text: what they leave, and where the cursor is."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_llama.widgets.modal.mode import VimMode
from tui_llama.widgets.modal.motions import Place


class PlainEditor:
    """A text with a cursor, the plainest that there can be."""

    def __init__(self, text: str, place: Place = (0, 0)) -> None:
        self.text = text
        self.place: Place = place
        self.calls: list[str] = []

    @property
    def lines(self) -> Sequence[str]:
        return self.text.split("\n")

    def _offset(self, place: Place) -> int:
        row, column = place
        assert 0 <= row < len(self.lines) and 0 <= column <= len(self.lines[row]), (place, self.text)
        return sum(len(line) + 1 for line in self.lines[:row]) + column

    def go_to(self, place: Place) -> None:
        self._offset(place)
        self.place = place

    def text_between(self, first: Place, last: Place) -> str:
        return self.text[self._offset(first) : self._offset(last)]

    def take_out(self, first: Place, last: Place) -> str:
        taken = self.text_between(first, last)
        start, end = self._offset(first), self._offset(last)
        self.text = self.text[:start] + self.text[end:]
        self.place = first
        return taken

    def put_in(self, text: str) -> None:
        start = self._offset(self.place)
        self.text = self.text[:start] + text + self.text[start:]
        before = self.text[: start + len(text)]
        self.place = before.count("\n"), len(before) - before.rfind("\n") - 1

    def step_line(self, step: int) -> None:
        row = self.place[0] + step
        if 0 <= row < len(self.lines):
            self.place = row, min(self.place[1], len(self.lines[row]))
        else:
            self.calls.append("before" if step < 0 else "after")

    def undo(self) -> None:
        self.calls.append("undo")

    def redo(self) -> None:
        self.calls.append("redo")

    def copied(self, text: str) -> None:
        self.calls.append(f"copied {text}")


def worked(text: str, place: Place, keys: Sequence[str]) -> tuple[PlainEditor, VimMode]:
    editor = PlainEditor(text, place)
    mode = VimMode(editor)
    mode.is_writing = False
    for key in keys:
        character = key if len(key) == 1 else None
        if not mode.press(key, character) and mode.is_writing and character:
            editor.put_in(character)
    return editor, mode


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ("l", (0, 1)),
        ("3l", (0, 3)),
        ("w", (0, 4)),
        ("2w", (0, 7)),
        ("ww", (0, 7)),
        ("e", (0, 2)),
        ("ee", (0, 6)),
        ("$", (0, 10)),
        ("$b", (0, 9)),
        ("$0", (0, 0)),
        ("G", (2, 0)),
        ("2G", (1, 0)),
        ("Ggg", (0, 0)),
        ("G^", (2, 2)),
        ("j", (1, 0)),
        ("10l", (0, 10)),
    ],
)
def test_motions(keys: str, place: Place) -> None:
    assert worked("one two; xy\nsecond\n  third", (0, 0), keys)[0].place == place


@pytest.mark.parametrize(
    ("text", "place", "keys", "left"),
    [
        ("one two", (0, 0), "x", "ne two"),
        ("one two", (0, 0), "3x", " two"),
        ("one two", (0, 4), "X", "onetwo"),
        ("one two", (0, 0), "dw", "two"),
        ("one two three", (0, 0), "2dw", "three"),
        ("one two three", (0, 0), "d2w", "three"),
        ("one two\nmore", (0, 4), "dw", "one \nmore"),
        ("one two", (0, 0), "de", " two"),
        ("one two", (0, 4), "db", "two"),
        ("one two", (0, 4), "d0", "two"),
        ("one two", (0, 3), "D", "one"),
        ("one\ntwo\nthree", (1, 1), "dd", "one\nthree"),
        ("one\ntwo\nthree", (2, 1), "dd", "one\ntwo"),
        ("one\ntwo\nthree", (0, 0), "2dd", "three"),
        ("one\ntwo\nthree", (0, 0), "9dd", ""),
        ("one\ntwo\nthree", (0, 0), "dj", "three"),
        ("one\ntwo\nthree", (1, 0), "dG", "one"),
        ("one\ntwo\nthree", (1, 0), "dgg", "three"),
        ("one", (0, 0), "dd", ""),
        ("one two", (0, 0), "cwnew", "new two"),
        ("one\ntwo", (0, 1), "ccnew", "new\ntwo"),
        ("one two", (0, 4), "Cmore", "one more"),
        ("one", (0, 1), "ixy", "oxyne"),
        ("one", (0, 1), "axy", "onxye"),
        ("one", (0, 1), "Ax", "onex"),
        ("  one", (0, 4), "Ix", "  xone"),
        ("one\ntwo", (0, 1), "onew", "one\nnew\ntwo"),
        ("one\ntwo", (1, 1), "Onew", "one\nnew\ntwo"),
        ("ab", (0, 0), "xp", "ba"),
        ("one\ntwo", (0, 0), "ddp", "two\none"),
        ("one\ntwo", (1, 0), "ddP", "two\none"),
        ("one\ntwo", (0, 0), "yyp", "one\none\ntwo"),
        ("one two", (0, 0), "yw$p", "one twoone "),
        ("one two", (0, 0), "dz", "one two"),
        ("one two", (0, 0), "gz", "one two"),
        ("one two", (0, 0), "dcx", "ne two"),
        ("", (0, 0), "xddpPwbe$", ""),
    ],
)
def test_changes(text: str, place: Place, keys: str, left: str) -> None:
    assert worked(text, place, keys)[0].text == left


def test_writing_ends_with_escape_on_the_character_that_was_written() -> None:
    editor, mode = worked("one", (0, 0), ["A", "!", "escape"])
    assert (editor.text, editor.place, mode.is_writing) == ("one!", (0, 3), False)


def test_escape_leaves_a_command_that_was_begun_and_is_else_for_others() -> None:
    editor, mode = worked("one two", (0, 0), ["2", "d"])
    assert mode.is_waiting and mode.press("escape", None)
    assert not mode.is_waiting and not mode.press("escape", None)
    assert editor.text == "one two"


def test_undo_redo_and_what_is_copied() -> None:
    editor, _ = worked("one two", (0, 0), ["y", "w", "2", "u", "ctrl+r"])
    assert editor.calls == ["copied one ", "undo", "undo", "redo"]


def test_lines_above_the_first_are_the_messages_of_before() -> None:
    assert worked("one", (0, 0), "kj")[0].calls == ["before", "after"]


def test_letters_that_mean_nothing_are_not_written_and_other_keys_are_for_others() -> None:
    _, mode = worked("one", (0, 0), "")
    assert mode.press("z", "z") and not mode.press("enter", "\r") and not mode.press("f1", None)


KEYS = st.sampled_from([*"hjklwbe0$^xXDCGgdcypPuiaIAoO123 \t", "escape", "ctrl+r", "left", "ü", "{"])


@given(st.text(st.sampled_from("ab .;ü\n"), max_size=30), st.lists(KEYS, max_size=25))
def test_any_keys_leave_the_cursor_in_the_text(text: str, keys: list[str]) -> None:
    editor, mode = worked(text, (0, 0), [*keys, "escape"])
    row, column = editor.place
    assert 0 <= row < len(editor.lines) and 0 <= column <= len(editor.lines[row])
    assert not mode.is_writing
