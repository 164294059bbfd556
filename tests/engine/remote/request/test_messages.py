"""Messages are sent as servers take them, with the thinking of answers beside their texts."""

from typing import Any

import pytest

from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.remote.dialects import DIALECTS, LLAMA_SERVER, LM_STUDIO, OWN_SERVER, PLAIN, SGLANG, VLLM, Dialect
from tui_llama.engine.remote.request.messages import in_order, request_messages
from tui_llama.errors import EngineError

QUESTION = ChatMessage(Role.USER, "Hello")
THOUGHT = ChatMessage(Role.ASSISTANT, "<think>\nHm.\n</think>\n\nHi")
CUT = ChatMessage(Role.ASSISTANT, "<think>\nHm, the user")


def sent(message: ChatMessage, dialect: Dialect, goes_on: bool = False) -> dict[str, Any]:
    return request_messages((QUESTION, message), dialect, goes_on)[1]


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("llama-server", {"reasoning_content": "Hm."}),
        ("vllm", {"reasoning": "Hm.", "reasoning_content": "Hm."}),
        ("sglang", {"reasoning_content": "Hm."}),
        ("ollama", {"reasoning": "Hm."}),
        ("lmstudio", {}),
        ("plain", {}),
    ],
)
def test_thinking_goes_under_the_names_of_the_dialect_or_not_at_all(name: str, fields: dict[str, str]) -> None:
    assert sent(THOUGHT, DIALECTS[name]) == {"role": "assistant", "content": "Hi", **fields}


def test_thinking_of_the_user_is_the_users_text() -> None:
    message = ChatMessage(Role.USER, THOUGHT.text)
    assert sent(message, LLAMA_SERVER)["content"] == THOUGHT.text


@pytest.mark.parametrize("dialect", [VLLM, SGLANG])
def test_an_answer_that_goes_on_within_its_thinking_is_sent_as_it_is(dialect: Dialect) -> None:
    assert sent(CUT, dialect, goes_on=True) == {"role": "assistant", "content": CUT.text}


@pytest.mark.parametrize("dialect", [LLAMA_SERVER, OWN_SERVER])
def test_llama_server_and_ours_go_on_within_the_thinking_beside_the_text(dialect: Dialect) -> None:
    assert sent(CUT, dialect, goes_on=True) == {
        "role": "assistant",
        "content": "",
        "reasoning_content": "Hm, the user",
    }


def test_images_come_before_the_text_and_may_be_alone() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    message = ChatMessage(Role.USER, "Look", images=("data:image/png;base64,AA",))
    assert sent(message, PLAIN)["content"] == [image, {"type": "text", "text": "Look"}]
    assert sent(ChatMessage(Role.USER, "", images=message.images), PLAIN)["content"] == [image]


def test_further_fields_are_sent_and_replace_nothing() -> None:
    message = ChatMessage(Role.TOOL, "42", fields='{"tool_call_id": "c", "role": "user", "content": "x"}')
    assert sent(message, PLAIN) == {"role": "tool", "content": "42", "tool_call_id": "c"}


@pytest.mark.parametrize("fields", ["[1]", "{", '"x"'])
def test_fields_that_are_none_are_refused(fields: str) -> None:
    with pytest.raises(EngineError):
        sent(ChatMessage(Role.USER, "x", fields=fields), PLAIN)


def test_halves_of_characters_are_not_sent() -> None:
    assert sent(ChatMessage(Role.USER, "a\ud83d"), PLAIN)["content"] == "a\ufffd"


def test_a_chat_is_put_in_order_and_calls_of_tools_are_left_alone() -> None:
    messages = (QUESTION, QUESTION, ChatMessage(Role.ASSISTANT, ""), ChatMessage(Role.USER, "There?"))
    assert in_order(messages, PLAIN) == (ChatMessage(Role.USER, "Hello\n\nHello\n\nThere?"),)
    calls = (QUESTION, ChatMessage(Role.ASSISTANT, "", fields='{"tool_calls": []}'), ChatMessage(Role.TOOL, "42"))
    assert in_order(calls, PLAIN) == calls


def test_an_answer_that_goes_on_within_its_thought_is_left_in_order() -> None:
    begun = ChatMessage(Role.ASSISTANT, "", thought="Hm")
    assert in_order((QUESTION, begun), VLLM) == (QUESTION, begun)
    assert in_order((QUESTION, begun, QUESTION), VLLM) == (ChatMessage(Role.USER, "Hello\n\nHello"),)


@pytest.mark.parametrize("dialect", [PLAIN, LM_STUDIO])
@pytest.mark.parametrize("answer", [CUT.text, "<think>", "<think>\n\n</think>", "<think>\nHm.\n</think>\n\n"])
def test_an_answer_without_a_word_is_left_out_where_no_thinking_is_taken(dialect: Dialect, answer: str) -> None:
    again = ChatMessage(Role.USER, "There?")
    cut = ChatMessage(Role.ASSISTANT, answer)
    assert in_order((QUESTION, cut, again), dialect) == (ChatMessage(Role.USER, "Hello\n\nThere?"),)
    assert in_order((QUESTION, THOUGHT, cut, again), dialect) == (QUESTION, ChatMessage(Role.ASSISTANT, "Hi"), again)
    image = ChatMessage(Role.USER, "Look", images=("data:image/png;base64,AA",))
    assert in_order((QUESTION, cut, image), dialect) == (QUESTION, image)
    assert in_order((QUESTION, cut), dialect)[-1] == cut  # whoever wants it to go on hears why it cannot


def test_an_answer_without_a_word_goes_where_its_thinking_does() -> None:
    again = ChatMessage(Role.USER, "There?")
    assert in_order((QUESTION, CUT, again), LLAMA_SERVER) == (QUESTION, CUT, again)
