"""Whose keys and values somebody may use."""

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_llama.engine.prompt_cache.owner import is_served_owner, may_use, served_owner_id

CHAT, OTHER_CHAT = bytes.fromhex("4" * 32), bytes.fromhex("5" * 12 + "4" * 20)
PROGRAM, OTHER_PROGRAM = (bytes.fromhex(served_owner_id(text)) for text in (b"one", b"two"))


@given(beginning=st.binary(max_size=100), other=st.binary(max_size=100))
def test_an_owner_of_a_served_program_is_a_uuid_of_the_version_left_to_programs(beginning: bytes, other: bytes) -> None:
    owner = served_owner_id(beginning)
    assert re.fullmatch("[0-9a-f]{32}", owner)
    assert (uuid.UUID(owner).version, uuid.UUID(owner).variant) == (8, uuid.RFC_4122)
    assert is_served_owner(owner)
    assert (owner == served_owner_id(other)) == (beginning == other)


def test_owners_stay_the_same_from_version_to_version() -> None:
    """Another rule would leave the prompts of all programs behind."""
    assert served_owner_id(b"system prompt") == "8b1a9b9c4f9f85259cd77e4365509c3c"


def test_an_id_of_another_version_or_length_is_no_served_programs() -> None:
    assert not any(map(is_served_owner, ("", "8" * 12, "8" * 33, bytes(16).hex(), "7" * 32)))


@pytest.mark.parametrize("asking", [None, CHAT])
@pytest.mark.parametrize("writer", [CHAT, OTHER_CHAT, PROGRAM, bytes(16)])
def test_a_chat_may_use_what_anybody_has_stored(asking: bytes | None, writer: bytes) -> None:
    assert may_use(asking, writer)


def test_a_served_program_may_use_what_served_programs_have_stored_and_nothing_else() -> None:
    assert [may_use(PROGRAM, writer) for writer in (PROGRAM, OTHER_PROGRAM, CHAT, bytes(16))] == [
        True,
        True,
        False,
        False,
    ]
