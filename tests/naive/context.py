"""Does the same as llama.cpp's completion program when the context is full, token by token.

Source: llama.cpp, tools/completion/completion.cpp and src/llama-kv-cells.h.
"""

from collections.abc import Callable, Sequence


def shifted_answer(
    rule: Callable[[Sequence[int]], int], prompt: Sequence[int], context_size: int, keep: int, count: int
) -> tuple[list[int], list[int]]:
    """Returns the answer of a model that goes by the tokens in its cache.

    Args:
        rule: The next token after those in the cache.
        prompt: What is in the cache at first.
        context_size: `n_ctx`.
        keep: `n_keep`, a token that begins prompts counted.
        count: How many tokens are said.

    Returns:
        The tokens said, and those in the cache at the end, which are all but the last one said.
    """
    cached, said = list(prompt), [rule(prompt)]
    while len(said) < count:
        if len(cached) + 1 >= context_size:
            discarded = (len(cached) - keep) // 2
            del cached[keep : keep + discarded]
        cached.append(said[-1])
        said.append(rule(cached))
    return said, cached


class GroupedPositions:
    """The positions of self-extend, `ga_n` and `ga_w` in llama.cpp.

    Attributes:
        positions: Of the tokens in the cache.
        shifts: By how many positions the tokens' keys are still to be rotated.
    """

    def __init__(self, group: int, width: int) -> None:
        self.positions: list[int] = []
        self.shifts: list[int] = []
        self._group, self._width = group, width
        self._grouped = 0
        self._past = 0

    def make_room(self) -> None:
        """Makes room for a token; called before each is decoded."""
        while self._past >= self._grouped + self._width:
            index = self._group * self._grouped // self._width
            saved = self._width // self._group * (self._group - 1)
            gap = self._width // self._group - index * saved - self._width
            end = self._grouped + index * saved + self._width
            self._add(self._grouped, self._past, index * saved)
            self._divide(self._grouped + index * saved, end)
            self._add(end, self._past + index * saved, gap)
            self._past -= saved
            self._grouped += self._width // self._group

    def append(self) -> None:
        """Notes that a token is decoded."""
        self.positions.append(self._past)
        self.shifts.append(0)
        self._past += 1

    def _add(self, first: int, end: int, difference: int) -> None:
        for i, position in enumerate(self.positions):
            if first <= position < end:
                self._move(i, position + difference)

    def _divide(self, first: int, end: int) -> None:
        for i, position in enumerate(self.positions):
            if first <= position < end:
                self._divide_one(i)

    def _divide_one(self, index: int) -> None:
        self._move(index, self.positions[index] // self._group)

    def _move(self, index: int, position: int) -> None:
        self.shifts[index] += position - self.positions[index]
        self.positions[index] = position


class ReversedGroupedPositions(GroupedPositions):
    """As llama.cpp has it since it keeps cells in a structure of their own: its `pos_div` notes the opposite shift.

    Keys that come to share a position are rotated away from it by as much as they should be rotated towards it.
    """

    def _divide_one(self, index: int) -> None:
        old = self.positions[index]
        self.positions[index] = old // self._group
        self.shifts[index] += old - self.positions[index]
