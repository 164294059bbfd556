"""A path of any shape becomes messages that templates take, and nothing that the user said is lost."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.prompting.prompt_messages import prompt_messages

_ROLES = {"s": Role.SYSTEM, "u": Role.USER, "a": Role.ASSISTANT, "t": Role.TOOL}
_CALL = ChatMessage(Role.ASSISTANT, "", fields='{"tool_calls": []}')

Said = tuple[str, str]


def path_of(*said: Said) -> tuple[ChatMessage, ...]:
    return tuple(ChatMessage(_ROLES[speaker], text) for speaker, text in said)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ([], []),
        ([("u", "hi")], [("u", "hi")]),
        ([("s", "Be brief"), ("u", "hi"), ("a", "Hello."), ("u", "and?")],) * 2,
        # Never answered: the model was loading, or the engine was lost.
        ([("u", "one"), ("u", "two")], [("u", "one\n\ntwo")]),
        ([("u", "one"), ("u", "two"), ("u", "three"), ("a", "yes"), ("u", "four")],
         [("u", "one\n\ntwo\n\nthree"), ("a", "yes"), ("u", "four")]),
        # Stopped before the first word, or failed before it.
        ([("u", "one"), ("a", ""), ("u", "two")], [("u", "one\n\ntwo")]),
        ([("u", "one"), ("a", " \n\t"), ("u", "two"), ("a", ""), ("u", "three")], [("u", "one\n\ntwo\n\nthree")]),
        ([("u", "one"), ("a", "half an ans"), ("u", "two")],) * 2,
        ([("s", ""), ("u", "hi")], [("u", "hi")]),
        ([("s", "Be brief"), ("s", " "), ("s", "Be kind"), ("u", "hi")], [("s", "Be brief\n\nBe kind"), ("u", "hi")]),
        ([("u", "hi"), ("a", "Hello."), ("s", "Be brief"), ("u", "and?")],
         [("u", "hi"), ("a", "Hello."), ("u", "Be brief\n\nand?")]),
        ([("u", "hi"), ("s", "Be brief"), ("a", "Hello."), ("u", "and?")],
         [("u", "hi"), ("a", "Hello."), ("u", "Be brief\n\nand?")]),
        ([("u", "hi"), ("a", "Hello."), ("s", "Be brief")], [("u", "hi"), ("a", "Hello."), ("u", "Be brief")]),
        ([("s", "Be brief")],) * 2,
        ([("a", "Welcome."), ("u", "hi")], [("u", "hi")]),
        ([("s", "Be brief"), ("a", "Welcome."), ("a", "Ask."), ("u", "hi")], [("s", "Be brief"), ("u", "hi")]),
        ([("u", "hi"), ("a", "Hello."), ("a", "Well?"), ("u", "and?")],
         [("u", "hi"), ("a", "Hello.\n\nWell?"), ("u", "and?")]),
        # What the user sends is asked, even if it is white space; beside other words it adds nothing.
        ([("u", " ")], [("u", " ")]),
        ([("u", "hi"), ("a", "Hello."), ("u", "\n")],) * 2,
        ([("u", " "), ("a", ""), ("u", "hi")], [("u", "hi")]),
        ([("u", ""), ("u", " ")], [("u", "")]),
        # Texts are not trimmed: what was fed stays what it was.
        ([("u", "  def f():\n"), ("a", ""), ("u", " pass ")], [("u", "  def f():\n\n\n pass ")]),
    ],
)  # fmt: skip
def test_a_path_becomes_messages(path: list[Said], shown: list[Said]) -> None:
    assert prompt_messages(path_of(*path)) == path_of(*shown)


def test_answers_of_tools_are_neither_joined_nor_moved_nor_left_out() -> None:
    answer = path_of(("t", "yes"))[0]
    path = (*path_of(("s", "Be brief"), ("u", "hi")), _CALL, answer, answer, *path_of(("t", ""), ("a", "Done.")))
    assert prompt_messages(path) == path
    assert prompt_messages((*path, *path_of(("t", "late"), ("u", "and?")))) == (
        *path,
        *path_of(("t", "late"), ("u", "and?")),
    )


def test_what_calls_a_tool_stays_as_it_is_even_before_the_user_says_a_word() -> None:
    path = (*path_of(("s", "Be brief")), _CALL, *path_of(("t", "yes")))
    assert prompt_messages(path) == path
    assert prompt_messages((*path_of(("a", "Welcome."), ("a", "Ask.")), *path[1:])) == path[1:]
    assert prompt_messages((*path_of(("u", "hi"), ("a", "I look.")), _CALL, _CALL)) == (
        *path_of(("u", "hi"), ("a", "I look.")),
        _CALL,
        _CALL,
    )


def test_messages_with_images_or_names_are_not_joined() -> None:
    named = ChatMessage(Role.USER, "hi", fields='{"name": "Ann"}')
    shown = ChatMessage(Role.USER, "what is this?", images=("data:image/png;base64,AA==",))
    path = (*path_of(("u", "one")), named, named, shown, *path_of(("u", "two")))
    assert prompt_messages(path) == path


def test_a_later_system_message_goes_past_answers_of_tools() -> None:
    path = (*path_of(("u", "hi")), _CALL, *path_of(("s", "Be brief"), ("t", "yes"), ("u", "and?")))
    assert prompt_messages(path) == (
        *path_of(("u", "hi")),
        _CALL,
        *path_of(("t", "yes"), ("u", "Be brief\n\nand?")),
    )


texts = st.one_of(st.sampled_from(["", " ", "\n\n", "yes", "two words", "<|im_end|>"]), st.text(max_size=8))
speakers = st.sampled_from([Role.SYSTEM, Role.USER, Role.ASSISTANT])
paths = st.lists(st.builds(ChatMessage, speakers, texts), max_size=12)
paths_with_tools = st.lists(
    st.builds(ChatMessage, st.sampled_from(list(Role)), texts, fields=st.sampled_from(["", "", '{"name": "x"}'])),
    max_size=12,
)


@given(path=paths)
def test_what_comes_out_begins_with_the_user_and_goes_by_turns(path: list[ChatMessage]) -> None:
    shown = prompt_messages(path)
    turns = shown[1:] if shown and shown[0].role is Role.SYSTEM else shown
    assert [message.role for message in turns] == [
        role for role, _ in zip(itertools.cycle([Role.USER, Role.ASSISTANT]), turns, strict=False)
    ]
    assert all(message.text.strip() for message in shown if message.role is not Role.USER)


@given(path=paths)
def test_nothing_that_the_user_said_is_lost(path: list[ChatMessage]) -> None:
    shown = prompt_messages(path)
    said = iter("\n".join(message.text for message in shown if message.role is Role.USER))
    for message in path:
        if message.role is Role.USER and message.text.strip():
            assert all(character in said for character in message.text)


@given(path=paths_with_tools)
def test_no_answer_of_a_tool_and_no_further_field_is_lost(path: list[ChatMessage]) -> None:
    def kept(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        return [each for each in messages if each.role is Role.TOOL or (each.fields and each.role is Role.ASSISTANT)]

    assert kept(prompt_messages(path)) == kept(path)
    assert sum(bool(each.fields) for each in prompt_messages(path)) == sum(bool(each.fields) for each in path)


@given(path=paths_with_tools)
def test_messages_that_were_so_already_stay(path: list[ChatMessage]) -> None:
    shown = prompt_messages(path)
    assert prompt_messages(shown) == shown


@given(path=paths, question=texts)
def test_a_question_comes_last(path: list[ChatMessage], question: str) -> None:
    shown = prompt_messages([*path, ChatMessage(Role.USER, question)])
    assert shown[-1].role is Role.USER


@given(path=paths, further=paths)
def test_what_follows_changes_only_the_end(path: list[ChatMessage], further: list[ChatMessage]) -> None:
    """Up to the last message, which may become longer, all stays: so what was fed for it can be kept."""
    path = [message for message in path if message.role is not Role.SYSTEM]
    before, after = prompt_messages(path), prompt_messages([*path, *further])
    assert after[: max(0, len(before) - 1)] == before[:-1]
    if before and before[-1].text.strip() and path:
        assert after[len(before) - 1].text.startswith(before[-1].text)
