"""Room is made in a full context as llama.cpp makes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.fake_model import FakeModel
from tests.naive.context import GroupedPositions
from tui_llama.engine.prompting.context_room import ContextRoom, ExtendingRoom, read_in_chunks, room_in
from tui_llama.engine.requests import Overflow, OverflowMode
from tui_llama.errors import CallerError, SettingsError

GROUPS = st.sampled_from([(2, 2), (2, 8), (3, 9), (4, 8), (4, 128), (8, 8)])


@given(GROUPS, st.integers(1, 150), st.integers(0, 150))
def test_positions_are_grouped_as_llama_cpp_groups_them(
    sizes: tuple[int, int], prompt_tokens: int, answer_tokens: int
) -> None:
    sequence, expected = FakeModel(context_size=400).new_sequence(), GroupedPositions(*sizes)
    room = ExtendingRoom(sequence, 400, *sizes)
    for _ in range(prompt_tokens):
        expected.make_room()
        expected.append()
    done = [count for count, _ in read_in_chunks(sequence, room, [5] * prompt_tokens)]
    assert (done[-1], done) == (prompt_tokens, sorted(set(done)))
    assert sequence.positions == expected.positions
    for _ in range(answer_tokens):
        expected.make_room()
        expected.append()
        if room.left(len(sequence)) <= 0:
            room.make()
        sequence.extend([6])
    assert sequence.positions == expected.positions


def test_the_logits_come_with_the_last_chunk_alone() -> None:
    sequence = FakeModel(context_size=400).new_sequence()
    chunks = list(read_in_chunks(sequence, ExtendingRoom(sequence, 400, 2, 8), [5] * 50))
    assert [logits is None for _, logits in chunks] == [True] * (len(chunks) - 1) + [False]


@pytest.mark.parametrize(("group", "width"), [(4, 6), (4, 2), (0, 4)])
def test_groups_that_make_no_sense_are_refused(group: int, width: int) -> None:
    sequence = FakeModel().new_sequence()
    with pytest.raises(SettingsError):
        room_in(sequence, 512, Overflow(OverflowMode.EXTEND, group_size=group, group_width=width), 5, False)


def test_a_group_of_one_extends_nothing() -> None:
    sequence = FakeModel().new_sequence()
    room = room_in(sequence, 512, Overflow(OverflowMode.EXTEND, group_size=1, group_width=7), 5, False)
    assert type(room) is ContextRoom
    assert not room.can_be_made(512)
    with pytest.raises(CallerError):
        room.make()


def test_a_shift_keeps_the_beginning_of_sequence_beside_what_is_to_be_kept() -> None:
    sequence = FakeModel(context_size=16).new_sequence()
    sequence.extend(range(15))
    for adds_bos, kept in [(False, [0, 1]), (True, [0, 1, 2])]:
        sequence.rewind(0)
        sequence.extend(range(15))
        room_in(sequence, 16, Overflow(OverflowMode.SHIFT, keep_tokens=2), 9, adds_bos).make()
        assert sequence.token_ids == [*kept, *range(15)[-(len(sequence) - len(kept)) :]]
        assert len(sequence) == 15 - (15 - len(kept)) // 2
