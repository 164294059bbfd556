"""The log-probabilities of an answer's tokens, in the forms of the two endpoints."""

import codecs
from collections.abc import Iterable
from typing import Any, Final

from tui_llama.chat import StopReason
from tui_llama.engine.events import TextPiece, TokenProbability

IMPOSSIBLE: Final = -9999.0
"""The log-probability that stands for minus infinity, which JSON does not know; vLLM's number."""


class TellableProbabilities:
    """Decides when the probabilities of tokens are told: with the text that they come with, and not for the end mark.

    The mark that ends an answer is a token as well. It is the last one, so the last of several joined pieces waits. A
    stop text is not told, so neither are its tokens.
    """

    def __init__(self) -> None:
        self._waiting: list[TokenProbability] = []
        self._shown_waiting = 0  # how many of them wait though their text was told

    def take(self, piece: TextPiece) -> list[TokenProbability]:
        """Returns the probabilities that can be told with a piece of text."""
        self._waiting += piece.probabilities
        certain = len(self._waiting) if piece.text else 0
        if certain:
            self._shown_waiting = 0
        if certain and len(piece.probabilities) > 1:
            certain -= 1
            self._shown_waiting = int(piece.text.encode().endswith(self._waiting[-1].token))
        told, self._waiting = self._waiting[:certain], self._waiting[certain:]
        return told

    def finish(self, reason: StopReason) -> list[TokenProbability]:
        """Returns those that are left at the end of the answer."""
        if reason is StopReason.END_OF_GENERATION:
            self._waiting = self._waiting[:-1]
        elif reason is StopReason.STOP_TEXT:
            self._waiting = self._waiting[: self._shown_waiting]
        told, self._waiting = self._waiting, []
        return told


def chat_probabilities(tokens: Iterable[TokenProbability]) -> dict[str, Any]:
    """Returns probabilities in the form of chat completions, with llama-server's ids of tokens."""
    return {
        "content": [{**_entry(each), "top_logprobs": [_entry(other) for other in each.alternatives]} for each in tokens]
    }


class TextProbabilities:
    """Probabilities in the form of text completions, with the place of each token in the text.

    Args:
        offset: How many characters come before the answer.
    """

    def __init__(self, offset: int) -> None:
        self._offset = offset
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def told(self, tokens: Iterable[TokenProbability]) -> dict[str, Any]:
        """Returns the next tokens of the answer."""
        tokens = list(tokens)
        offsets = []
        for each in tokens:
            offsets.append(self._offset)
            self._offset += len(self._decoder.decode(each.token))
        return {
            "tokens": [_token_text(each.token) for each in tokens],
            "token_logprobs": [_told_number(each) for each in tokens],
            "top_logprobs": [
                {_token_text(other.token): _told_number(other) for other in (*each.alternatives, each)}
                for each in tokens
            ],
            "text_offset": offsets,
        }


def _entry(each: TokenProbability) -> dict[str, Any]:
    named = {} if each.token_id is None else {"id": each.token_id}
    return {
        **named,
        "token": each.token.decode(errors="replace"),
        "logprob": _told_number(each),
        "bytes": list(each.token),
    }


def _told_number(each: TokenProbability) -> float:
    return max(each.log_probability, IMPOSSIBLE)


def _token_text(token: bytes) -> str:
    """Returns the token's text; a part of a character as OpenAI writes it, so that two of them stay different."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token)
