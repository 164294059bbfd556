"""How attachments reach the model."""

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tui_llama.attachments.prompt_text import attachment_block, with_attachments
from tui_llama.chat import Attachment

LINES = st.lists(st.text(alphabet="`~ab \t.", max_size=12), max_size=8).map("\n".join)


def blocks_in(prompt: str) -> list[str]:
    """The contents of the fenced blocks of a Markdown text."""
    return [token.content for token in MarkdownIt().parse(prompt) if token.type == "fence"]


def test_what_is_attached_stands_in_fenced_blocks_before_what_was_written() -> None:
    notes, log = Attachment("notes.txt", "one\ntwo\n"), Attachment("log", "no end of line")

    assert with_attachments("What is this?", (notes, log)) == (
        "notes.txt:\n```\none\ntwo\n```\n\nlog:\n```\nno end of line\n```\n\nWhat is this?"
    )


def test_a_message_without_attachments_is_its_text() -> None:
    assert with_attachments("  as it is\n", ()) == "  as it is\n"


def test_an_empty_file_is_an_empty_block() -> None:
    assert attachment_block(Attachment("empty", "")) == "empty:\n```\n```"


def test_a_name_cannot_begin_a_line_of_its_own() -> None:
    assert attachment_block(Attachment("a\n```\nb\x1b[0m", "")).splitlines() == ["a ``` b [0m:", "```", "```"]


@given(LINES, LINES)
def test_no_content_ends_its_block(first: str, second: str) -> None:
    prompt = with_attachments("And?", (Attachment("a", first), Attachment("b", second)))

    assert blocks_in(prompt) == [text if not text or text.endswith("\n") else text + "\n" for text in (first, second)]
    assert prompt.endswith("\n\nAnd?")


@given(LINES, st.text(max_size=20), st.text(max_size=20))
def test_what_stands_before_the_question_does_not_depend_on_it(content: str, question: str, longer: str) -> None:
    """So that it can be read ahead."""
    attachments = (Attachment("a", content),)
    before = with_attachments("", attachments)

    assert with_attachments(question, attachments) == before + question
    assert with_attachments(question + longer, attachments).startswith(with_attachments(question, attachments))
