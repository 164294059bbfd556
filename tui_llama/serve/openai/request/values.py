"""The values of a request that both endpoints share, checked: limits, stop texts, probabilities."""

from typing import Final

from tui_llama.declarations import MOST
from tui_llama.engine.descriptions import ModelInfo
from tui_llama.serve.openai.request.bodies import THOUGHT_LIMITS, ChatBody, CommonBody
from tui_llama.serve.openai.request.refusals import unsupported, wrong

MOST_STOP_TEXTS: Final = 16
LONGEST_STOP_TEXT: Final = 1024
MOST_TOP_PROBABILITIES: Final = 20
_OFF: Final = -1


def most_tokens(body: CommonBody, otherwise: int | None) -> int | None:
    """Returns the most tokens of the answer; None is no limit.

    Args:
        body: The request; -1 is no limit there.
        otherwise: The limit where the request says nothing.

    Raises:
        ApiError: the number is not allowed.
    """
    for name in ("max_completion_tokens", "max_tokens", "n_predict"):  # the newest name wins
        value: int | None = getattr(body, name, None)
        if value is None:
            continue
        if not _OFF <= value <= MOST:
            raise wrong(name, f"{name} must be 0 or more, or -1 for no limit.")
        return None if value == _OFF else value
    return otherwise


def most_thinking_tokens(body: CommonBody, otherwise: int | None) -> int | None:
    """Returns the most tokens of the thought before the answer; None is no limit.

    Args:
        body: The request; -1 is no limit there.
        otherwise: The limit where the request says nothing.

    Raises:
        ApiError: the number is not allowed.
    """
    for name in THOUGHT_LIMITS:
        value: int | None = getattr(body, name)
        if value is None:
            continue
        if not _OFF <= value <= MOST:
            raise wrong(name, f"{name} must be 0 or more, or -1 for no limit.")
        return None if value == _OFF else value
    return otherwise


def stop_texts(body: CommonBody) -> tuple[str, ...]:
    """Returns the texts that end the answer.

    Raises:
        ApiError: there are too many, or one is too long.
    """
    texts = [body.stop] if isinstance(body.stop, str) else body.stop or []
    if len(texts) > MOST_STOP_TEXTS:
        raise wrong("stop", f"stop takes at most {MOST_STOP_TEXTS} texts.")
    if any(len(text) > LONGEST_STOP_TEXT for text in texts):
        raise wrong("stop", f"A stop text has at most {LONGEST_STOP_TEXT} characters.")
    return tuple(text for text in texts if text)


def top_probabilities(body: CommonBody, model: ModelInfo) -> int | None:
    """Returns of how many likeliest tokens the probabilities are told beside each token's own; None: nothing is told.

    Raises:
        ApiError: the number is not allowed, or the engine cannot tell them.
    """
    asked, top = body.logprobs, body.top_logprobs if isinstance(body, ChatBody) else None
    if asked is None or asked is False:
        if top:
            raise wrong("top_logprobs", "top_logprobs needs logprobs: true.")
        return None
    asked_count = 0 if asked is True else asked  # text completions say the number here
    name, count = ("logprobs", asked_count) if top is None else ("top_logprobs", top)
    if not 0 <= count <= MOST_TOP_PROBABILITIES:
        raise wrong(name, f"{name} must be from 0 to {MOST_TOP_PROBABILITIES}.")
    if not model.capabilities.has_probabilities:
        raise unsupported("logprobs", "The engine tells no log-probabilities.")
    return count
