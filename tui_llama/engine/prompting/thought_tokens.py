"""The tokens of an answer that has been written before: its thought, its text, and the marks between them."""

from collections.abc import Sequence
from typing import Final

from tui_llama.chat import ChatMessage
from tui_llama.engine.model.interface import LanguageModel
from tui_llama.engine.prompting.edited_answer import answer_tokens
from tui_llama.engine.templates.thinking.parter import opened_parter

MOST_MARK_TOKENS: Final = 64
"""Most tokens of the marks around a thought."""


def thought_and_text_tokens(
    model: LanguageModel, asked_ids: Sequence[int], answer: ChatMessage, generated: Sequence[int] = ()
) -> list[int]:
    """Returns the tokens of an answer as the model would have written it behind the prompt `asked_ids`.

    A thought without a text behind it stays open. A model that writes no thoughts gets the text only.

    Args:
        model: Supplies the tokenizer and what its template knows of thoughts.
        asked_ids: The prompt.
        answer: The answer as it is now.
        generated: The tokens that followed the prompt before the answer was changed; as many are kept as can be.
    """
    tokenizer, form = model.tokenizer, model.chat_template.thinking.form
    if form is None or not answer.thought:
        opening = text_opening(model, asked_ids) if answer.text else []
        return [*opening, *answer_tokens(tokenizer, [] if opening else generated, answer.text)]
    kept = _tokens_before_text(model, asked_ids, generated, answer.thought)
    if kept and answer.text:
        return [*generated[:kept], *answer_tokens(tokenizer, generated[kept:], answer.text)]
    token_ids: list[int] = []
    if not opened_parter(tokenizer, form, asked_ids).is_thinking:
        token_ids += tokenizer.tokenize(form.beginning, parse_special=True, continues=True)
    token_ids += tokenizer.tokenize(answer.thought, continues=True)
    if answer.text:
        token_ids += tokenizer.tokenize(form.ending, parse_special=True, continues=True)
    return token_ids + tokenizer.tokenize(answer.text, continues=True)


def text_opening(model: LanguageModel, asked_ids: Sequence[int]) -> list[int]:
    """Returns the tokens between a prompt and the text of an answer that has no thought; mostly none.

    They close a thought that the template has opened, as templates write a thought of no words, or name a channel.
    """
    tokenizer, form = model.tokenizer, model.chat_template.thinking.form
    if form is None:
        return []
    opening = form.text_opening
    if opened_parter(tokenizer, form, asked_ids).is_thinking:
        is_line_open = form.ending.startswith("\n") and not tokenizer.piece(asked_ids[-1]).endswith(b"\n")
        opening = f"\n{form.ending}" if is_line_open else form.ending
    return tokenizer.tokenize(opening, parse_special=True, continues=True) if opening else []


def _tokens_before_text(model: LanguageModel, asked_ids: Sequence[int], generated: Sequence[int], thought: str) -> int:
    """Returns how many of the tokens write this thought and the marks around it; 0 if they write another one."""
    tokenizer, form = model.tokenizer, model.chat_template.thinking.form
    if form is None:
        return 0
    parter, decoder, said = opened_parter(tokenizer, form, asked_ids), tokenizer.stream_decoder(), ""
    for place, token_id in enumerate(generated):
        written = parter.marks.stand_in(token_id) or decoder.push(token_id)
        parts = parter.push(written)
        said += parts.thought
        if parts.text:
            return place if said == thought and parts.text == written else 0
    return 0
