"""Two modes for an editor, as vim has them: in one, letters are written; in the other, they move and change.

What there is of vim: the motions of `motions.MOTIONS`; d, c and y with a motion or doubled; x, X, D, C, p, P, u,
Ctrl+R; i, a, I, A, o, O; and counts. There is no visual mode, no search, no registers and no command line.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from tui_llama.widgets.modal.motions import MOTIONS, WHOLE_LINES, Place, first_letter, moved, span, whole_lines

_OPERATORS: Final = frozenset("dcy")
_SHORT: Final = {"x": ("d", "l"), "X": ("d", "h"), "D": ("d", "$"), "C": ("c", "$"), "s": ("c", "l")}
_OPENING: Final = frozenset({"i", "a", "I", "A", "o", "O", "insert"})
_MOST_REPEATS: Final = 9999
_MOST_CHANGES: Final = 100
_GOES_ON: Final = frozenset({"g"})  # the first of two letters that are one motion
_LINE_KEYS: Final = frozenset({"j", "down", "k", "up"})


class ModalEditor(Protocol):
    """The editor whose keys are interpreted."""

    @property
    def lines(self) -> Sequence[str]:
        """Its lines."""
        ...

    @property
    def place(self) -> Place:
        """The place of the cursor."""
        ...

    def go_to(self, place: Place) -> None:
        """Moves the cursor."""
        ...

    def take_out(self, first: Place, last: Place) -> str:
        """Removes the text between two places and returns it."""
        ...

    def text_between(self, first: Place, last: Place) -> str:
        """Returns the text between two places."""
        ...

    def put_in(self, text: str) -> None:
        """Writes a text at the cursor."""
        ...

    def step_line(self, step: int) -> None:
        """Moves the cursor by a drawn line, or to a message that was sent before."""
        ...

    def undo(self) -> None:
        """Takes the last change back."""
        ...

    def redo(self) -> None:
        """Makes it again."""
        ...

    def copied(self, text: str) -> None:
        """Is told of a text that was copied by `y`."""
        ...


class VimMode:
    """The mode, and what was typed of a command.

    Args:
        editor: What is edited.

    Attributes:
        is_writing: Whether letters are written.
    """

    def __init__(self, editor: ModalEditor) -> None:
        self._editor = editor
        self.is_writing = True
        self._count = ""
        self._operator = ""
        self._operator_count = 1
        self._begun = ""  # of a motion of two letters
        self._kept = ""
        self._keeps_lines = False

    @property
    def is_waiting(self) -> bool:
        """True if a command was begun that is not complete, such as "2d"."""
        return bool(self._operator or self._count or self._begun)

    def press(self, key: str, character: str | None) -> bool:
        """Interprets a key; returns whether it meant something here.

        Args:
            key: The name of the key.
            character: What it writes; None if nothing.
        """
        if self.is_writing:
            if key == "escape":
                self._stop_writing()
                return True
            return False
        is_letter = character is not None and character.isprintable()
        word = character if is_letter and character is not None else key
        if key == "escape":
            was_waiting = self.is_waiting
            self._forget()
            return was_waiting
        if key == "ctrl+r":
            self._repeat(self._editor.redo)
            return True
        return self._command(word) or is_letter  # a letter that means nothing here is not written either

    # --- commands -----------------------------------------------------------------------------------------------

    def _command(self, word: str) -> bool:
        word, self._begun = self._begun + word, ""
        if word.isdecimal() and (word != "0" or self._count):
            self._count += word
        elif word in _GOES_ON:
            self._begun = word
        elif word in _OPERATORS:
            self._operate_or_begin(word)
        elif word in MOTIONS:
            self._move_or_operate(word)
        elif word in _SHORT and not self._operator:
            operator, motion = _SHORT[word]
            self._change(operator, *span(motion, self._editor.lines, self._editor.place, self._take_count()))
        elif word in _OPENING and not self._operator:
            self._open(word)
        elif word in ("p", "P") and not self._operator:
            self._paste(is_before=word == "P")
        elif word == "u" and not self._operator:
            self._repeat(self._editor.undo)
        else:
            self._forget()
            return False
        return True

    def _operate_or_begin(self, word: str) -> None:
        if not self._operator:
            self._operator, self._operator_count = word, self._take_count()
        elif word == self._operator:
            row = self._editor.place[0]
            self._change_lines(word, row, row + self._operator_count * self._take_count() - 1)
        else:
            self._forget()

    def _move_or_operate(self, motion: str) -> None:
        editor, operator, has_count = self._editor, self._operator, bool(self._count)
        count = self._operator_count * self._take_count()
        end = moved(motion, editor.lines, editor.place, count)
        if motion in ("G", "gg") and has_count:
            end = (min(count, len(editor.lines)) - 1, 0)
        if operator and motion in WHOLE_LINES:
            self._change_lines(operator, *sorted((editor.place[0], end[0])))
        elif operator:
            # As vim: c with w changes the word and leaves the blank behind it.
            motion = "e" if operator == "c" and motion == "w" else motion
            self._change(operator, *span(motion, editor.lines, editor.place, count))
        elif motion in _LINE_KEYS:
            for _ in range(min(count, len(editor.lines))):
                editor.step_line(1 if motion in ("j", "down") else -1)
        else:
            editor.go_to(self._on_line(end))

    def _change(self, operator: str, first: Place, last: Place) -> None:
        """Carries out d, c or y from one place to another."""
        editor = self._editor
        self._forget()
        if first != last:
            self._kept, self._keeps_lines = editor.text_between(first, last), False
        if operator == "y":
            editor.copied(self._kept)
            editor.go_to(first)
            return
        editor.take_out(first, last)
        self.is_writing = operator == "c"
        if not self.is_writing:
            editor.go_to(self._on_line(editor.place))

    def _change_lines(self, operator: str, first: int, last: int) -> None:
        """Carries out d, c or y on whole lines."""
        editor = self._editor
        last = min(last, len(editor.lines) - 1)
        ends = (first, 0), (last, len(editor.lines[last]))
        self._forget()
        self._kept, self._keeps_lines = editor.text_between(*ends), True
        if operator == "y":
            editor.copied(self._kept)
        elif operator == "c":
            editor.take_out(*ends)
            self.is_writing = True
        else:
            editor.take_out(*whole_lines(editor.lines, first, last))
            editor.go_to(first_letter(editor.lines, (min(first, len(editor.lines) - 1), 0)))

    def _open(self, word: str) -> None:
        editor = self._editor
        row, column = editor.place
        length = len(editor.lines[row])
        self._forget()
        self.is_writing = True
        if word == "a":
            editor.go_to((row, min(length, column + 1)))
        elif word == "I":
            editor.go_to(first_letter(editor.lines, (row, column)))
        elif word == "A":
            editor.go_to((row, length))
        elif word == "o":
            editor.go_to((row, length))
            editor.put_in("\n")
        elif word == "O":
            editor.go_to((row, 0))
            editor.put_in("\n")
            editor.go_to((row, 0))

    def _paste(self, *, is_before: bool) -> None:
        editor, count = self._editor, self._take_count()
        row, column = editor.place
        length = len(editor.lines[row])
        if not self._kept:
            return
        if self._keeps_lines:
            editor.go_to((row, 0 if is_before else length))
            lines = "\n".join([self._kept] * count)
            editor.put_in(f"{lines}\n" if is_before else f"\n{lines}")
            editor.go_to((row if is_before else row + 1, 0))
        else:
            editor.go_to((row, column if is_before else min(length, column + 1)))
            editor.put_in(self._kept * count)
            editor.go_to((editor.place[0], max(0, editor.place[1] - 1)))

    def _repeat(self, change: Callable[[], None]) -> None:
        for _ in range(min(self._take_count(), _MOST_CHANGES)):
            change()

    def _take_count(self) -> int:
        count = min(int(self._count or "1"), _MOST_REPEATS)
        self._count = ""
        return count

    def _forget(self) -> None:
        self._count = self._operator = self._begun = ""
        self._operator_count = 1

    def _stop_writing(self) -> None:
        self.is_writing = False
        row, column = self._editor.place
        self._editor.go_to((row, max(0, column - 1)))

    def _on_line(self, place: Place) -> Place:
        """Returns a place on a character: outside of writing, the cursor stands on one, and not behind the last."""
        row, column = place
        return row, max(0, min(column, len(self._editor.lines[row]) - 1))
