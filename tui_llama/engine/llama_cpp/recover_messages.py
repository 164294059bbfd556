"""Recovers the messages of a conversation from tokens that a chat template wrote: who said what.

A template is a program and cannot be run backwards. But it can be made to write messages of one character each; the
text between these characters is what the template puts between messages. The recovered text is cut there. The resulting
messages are accepted only if the template writes them as the same tokens again.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.model.interface import PromptTemplate
from tui_llama.engine.prompting.ledger_prompt import encode_prompt
from tui_llama.engine.tokenizer.tokenizer import Tokenizer
from tui_llama.errors import UserError

_PROBES: Final = "\ue000\ue001\ue002\ue003"  # of private use, so that no template writes them


def messages_in(
    token_ids: Sequence[int], tokenizer: Tokenizer, template: PromptTemplate, now: datetime | None = None
) -> tuple[ChatMessage, ...]:
    """Returns the messages that the template has written as these tokens; the last is an answer, perhaps unfinished.

    Args:
        token_ids: What was fed and generated.
        tokenizer: Whose ids they are.
        template: Has written them.
        now: What it was told if it asked for the date, by default the present.

    Returns:
        An answer is the last of them; a system prompt may be the first. Nothing where the template has written
        something else, or would write these messages as other tokens up to the last answer.
    """
    ended = bool(token_ids) and token_ids[-1] in tokenizer.end_of_generation
    text = _text_of(token_ids[: len(token_ids) - ended], tokenizer)
    for roles in ((Role.USER, Role.ASSISTANT, Role.USER), (Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.USER)):
        marks = _marks_of(template, roles, now)
        messages = () if marks is None else marks.messages_in(text)
        if messages and _begins_with(token_ids, messages, tokenizer, template, now):
            return messages
    return ()


@dataclass(frozen=True, slots=True)
class _Marks:
    """The texts that a template writes before the first message, and between two messages, by their roles."""

    first_role: Role
    before: str
    between: dict[Role, tuple[Role, str]]

    def messages_in(self, text: str) -> tuple[ChatMessage, ...]:
        """Returns the messages of a text; nothing where the text does not end in an answer."""
        if not text.startswith(self.before):
            return ()
        messages: list[ChatMessage] = []
        role, place = self.first_role, len(self.before)
        while True:
            next_role, mark = self.between[role]
            end = text.find(mark, place)
            if end < 0:
                break
            messages.append(ChatMessage(role, text[place:end]))
            role, place = next_role, end + len(mark)
        return (*messages, ChatMessage(role, text[place:])) if role is Role.ASSISTANT else ()


def _marks_of(template: PromptTemplate, roles: Sequence[Role], now: datetime | None) -> _Marks | None:
    """Returns what the template writes around messages of these roles; None where it cannot, or writes nothing."""
    probes = _PROBES[: len(roles)]
    try:
        said = [ChatMessage(role, probe) for role, probe in zip(roles, probes, strict=True)]
        rendered = template.render(said, now=now)
    except UserError:
        return None
    if "".join(re.findall(f"[{_PROBES}]", rendered)) != probes:
        return None
    before, *marks, _ = re.split(f"[{_PROBES}]", rendered)
    if not (before and all(marks)):
        return None
    return _Marks(
        roles[0], before, {role: (after, mark) for (role, after), mark in zip(pairwise(roles), marks, strict=True)}
    )


def _text_of(token_ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """Returns the text as a template writes it.

    The spaces are left out that tokenizing adds at the start and after special tokens.
    """
    if token_ids and tokenizer.add_bos and token_ids[0] == tokenizer.bos_id:
        token_ids = token_ids[1:]
    pieces, follows_special = [], True
    for token_id in token_ids:
        piece, is_special = tokenizer.piece(token_id, special=True), tokenizer.is_special(token_id)
        has_space = tokenizer.add_space_prefix and follows_special and not is_special
        pieces.append(piece.removeprefix(b" ") if has_space else piece)
        follows_special = is_special
    return b"".join(pieces).decode("utf-8", "replace")


def _begins_with(
    token_ids: Sequence[int],
    messages: Sequence[ChatMessage],
    tokenizer: Tokenizer,
    template: PromptTemplate,
    now: datetime | None,
) -> bool:
    """Tells whether the tokens begin with the prompt for the last of the messages."""
    try:
        rendered = template.render(messages[:-1], now=now)
    except UserError:
        return False
    user_texts = [message.text for message in messages[:-1] if message.role is Role.USER]
    encoded = encode_prompt(tokenizer, rendered, token_ids, user_texts)
    if encoded.token_ids:
        return False
    # Text may be other tokens here and there, but control tokens must not be text that only looks like them.
    anew = encode_prompt(tokenizer, rendered, (), user_texts).token_ids
    special = [
        [token_id for token_id in ids if tokenizer.is_special(token_id)]
        for ids in (token_ids[: encoded.kept_tokens], anew)
    ]
    return special[0] == special[1]
