"""Makes room in a full context, among the tokens that were read.

There are two ways, both as llama.cpp's completion program has them. A context shift forgets the older half of all but
the first tokens. Self-extend lets older tokens share positions, so that a text may be longer than the texts that the
model was trained on. Both change keys that were read, so a reply that has made room leaves only the untouched prefix.

Knows positions and lengths; nothing of weights, of sampling, or of who is told.

Sources: llama.cpp, tools/completion, for both; Jin et al. 2024 (LLM Maybe LongLM: Self-Extend LLM Context Window
Without Tuning) for the second.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tui_llama.engine.requests import Overflow, OverflowMode
from tui_llama.engine.token_sequence import Logits, TokenSequence
from tui_llama.errors import CallerError, SettingsError


class ContextRoom:
    """The room in a sequence. This kind makes none: it ends where the context ends.

    Attributes:
        reusable_tokens: How many tokens at the start of a prompt may come from an earlier reply or the prompt cache.
        notice: The notice to the user once room is made.

    Args:
        sequence: Where the tokens go.
        context_size: The most tokens that it holds.
    """

    notice = ""

    def __init__(self, sequence: TokenSequence, context_size: int) -> None:
        self._sequence = sequence
        self._context_size = context_size
        self.reusable_tokens = context_size

    def left(self, length: int) -> int:
        """Returns how many more tokens fit after `length` tokens, before the end comes or room has to be made."""
        return self._context_size - length

    def can_be_made(self, length: int) -> bool:
        """Tells whether `make` can make room after `length` tokens."""
        return False

    def make(self) -> None:
        """Makes room after the tokens of the sequence, once none is left.

        Raises:
            CallerError: this kind makes none.
        """
        raise CallerError("this context is full")


class ShiftingRoom(ContextRoom):
    """Room by context shift.

    One place always stays free: llama.cpp shifts when the next token would take the last one. If all tokens are kept,
    there is nothing to forget, and the context ends as it would without shifts.

    Args:
        sequence: As above.
        context_size: As above.
        kept_tokens: How many tokens at the start are never forgotten.
    """

    def __init__(self, sequence: TokenSequence, context_size: int, kept_tokens: int) -> None:
        super().__init__(sequence, context_size)
        self._kept_tokens = kept_tokens
        self._has_something_to_forget = self._discarded(context_size - 1) > 0
        self.notice = f"The context of {context_size} tokens is full: the answer goes on without the older half of it."

    def left(self, length: int) -> int:
        """See `ContextRoom.left`."""
        return self._context_size - length - int(self._has_something_to_forget)

    def can_be_made(self, length: int) -> bool:
        """See `ContextRoom.can_be_made`."""
        return self._has_something_to_forget

    def make(self) -> None:
        """Forgets the older half of the tokens that are not kept."""
        self._sequence.shift(self._kept_tokens, self._discarded(len(self._sequence)))

    def _discarded(self, length: int) -> int:
        return (length - self._kept_tokens) // 2


class ExtendingRoom(ContextRoom):
    """Room by self-extend: it frees positions, not places; the context still holds no more tokens.

    As soon as the last `width` positions are taken, `group` tokens at a time come to share one of them.

    Args:
        sequence: As above.
        context_size: As above.
        group: How many tokens share a position.
        width: How many positions are grouped at once; a multiple of `group`.
    """

    def __init__(self, sequence: TokenSequence, context_size: int, group: int, width: int) -> None:
        super().__init__(sequence, context_size)
        self.reusable_tokens = width
        self._group, self._width = group, width
        self._grouped_positions = 0
        self._saved_positions = 0
        self.notice = f"The text is longer than {width} tokens: {group} older ones at a time now share a position."

    def left(self, length: int) -> int:
        """See `ContextRoom.left`."""
        return min(self._context_size - length, self._positions_left(length))

    def can_be_made(self, length: int) -> bool:
        """See `ContextRoom.can_be_made`."""
        return length < self._context_size

    def make(self) -> None:
        """Groups the last `width` positions."""
        positions = np.array(self._sequence.positions, np.int64)
        while self._positions_left(len(positions)) <= 0:
            positions = group_positions(positions, self._grouped_positions, self._group, self._width)
            self._grouped_positions += self._width // self._group
            self._saved_positions += self._width - self._width // self._group
        self._sequence.set_positions(positions.tolist())

    def _positions_left(self, length: int) -> int:
        next_position = length - self._saved_positions
        return self._grouped_positions + self._width - next_position


def group_positions(positions: npt.NDArray[np.int64], start: int, group: int, width: int) -> npt.NDArray[np.int64]:
    """Returns positions of which `width` from `start` on are grouped, so that they become `width` / `group`.

    Args:
        positions: (tokens,) int64, not descending.
        start: The first position that is not grouped yet.
        group: How many become one.
        width: How many are grouped; a multiple of `group`. Later positions move down to follow them.
    """
    grouped = start + (positions - start) // group
    moved = positions - (width - width // group)
    return np.where(positions < start, positions, np.where(positions < start + width, grouped, moved))


def room_in(
    sequence: TokenSequence, context_size: int, overflow: Overflow, prompt_tokens: int, adds_bos: bool
) -> ContextRoom:
    """Returns the room of a reply, of the kind that the user wants.

    Args:
        sequence: Where the tokens go.
        context_size: The most tokens that it holds.
        overflow: What the user wants done about a full context.
        prompt_tokens: How long the prompt is.
        adds_bos: Whether prompts begin with a token that stands for no text; it is kept beside the kept tokens.

    Raises:
        SettingsError: the numbers of self-extend make no sense.
    """
    if overflow.mode is OverflowMode.SHIFT:
        keeps_all = not 0 <= overflow.keep_tokens <= prompt_tokens
        return ShiftingRoom(
            sequence, context_size, prompt_tokens if keeps_all else overflow.keep_tokens + int(adds_bos)
        )
    if overflow.mode is OverflowMode.EXTEND and overflow.group_size != 1:
        group, width = overflow.group_size, overflow.group_width
        if group < 1 or width < group or width % group:
            raise SettingsError(
                f"{width} positions cannot be grouped by {group}", f"Use a multiple of {max(group, 1)} positions."
            )
        if not sequence.can_share_positions:
            raise SettingsError(
                "tokens of this model cannot share positions",
                "Choose another way to go on when the context is full.",
            )
        return ExtendingRoom(sequence, context_size, group, width)
    return ContextRoom(sequence, context_size)


def read_in_chunks(
    sequence: TokenSequence, room: ContextRoom, ids: Sequence[int]
) -> Iterator[tuple[int, Logits | None]]:
    """Reads as `TokenSequence.extend_in_chunks`; makes room wherever reading token by token would make it."""
    done = 0
    while done < len(ids):
        if room.left(len(sequence)) <= 0:
            room.make()
        part = ids[done : done + room.left(len(sequence))]
        for count, logits in sequence.extend_in_chunks(part):
            yield done + count, logits if done + count == len(ids) else None
        done += len(part)
