"""Makes the engine's request of a request for the continuation of a text."""

from typing import Final, NamedTuple

from tui_llama.engine.descriptions import ModelInfo
from tui_llama.engine.requests import CompleteRequest
from tui_llama.serve.openai.owner import text_owner
from tui_llama.serve.openai.request.answer_grammar import asked_grammar
from tui_llama.serve.openai.request.asked import AskedText, answer_form
from tui_llama.serve.openai.request.asked_sampling import asked_sampling
from tui_llama.serve.openai.request.bodies import TextBody
from tui_llama.serve.openai.request.chat_request import STOPS_WHEN_FULL
from tui_llama.serve.openai.request.refusals import check_length, check_text, wrong
from tui_llama.serve.openai.request.values import most_tokens, stop_texts, top_probabilities
from tui_llama.settings import Settings

DEFAULT_TOKENS: Final = 16
"""How many tokens an answer has where neither the request nor the settings say it; OpenAI's number."""


class _Prompt(NamedTuple):
    text: str = ""
    token_ids: tuple[int, ...] = ()


def asked_text(body: TextBody, turn: int, settings: Settings, model: ModelInfo) -> AskedText:
    """Returns what a request asks for; the arguments are those of `asked_chat`.

    Raises:
        ApiError: the request is wrong, or asks for what the server cannot do.
    """
    check_text(body)
    prompt = _prompt(body.prompt, model)
    sampling, given = asked_sampling(body, settings, model)
    asked_of_tokens, bound = top_probabilities(body, model), asked_grammar(body)
    request = CompleteRequest(
        turn=turn,
        text=prompt.text,
        ledger=prompt.token_ids,
        vocabulary=model.vocabulary if prompt.token_ids else "",
        sampling=sampling,
        given_sampling=given,
        max_tokens=most_tokens(body, DEFAULT_TOKENS if settings.max_tokens is None else settings.max_tokens),
        stop_texts=stop_texts(body),
        chat_id=text_owner(prompt.text, prompt.token_ids),
        draft_max=settings.draft_max,
        overflow=STOPS_WHEN_FULL,
        ignore_eos=bool(body.ignore_eos),
        top_probabilities=asked_of_tokens,
        json_schema=bound.json_schema,
        grammar=bound.grammar,
    )
    return AskedText(request, model, answer_form(body, asked_of_tokens), bool(body.echo))


def _prompt(given: str | list[str | int | list[int]] | None, model: ModelInfo) -> _Prompt:
    """Returns the one prompt of a request: a text, tokens, or a list of one of these.

    Raises:
        ApiError: there is none, there are several, or a token is not in the vocabulary.
    """
    if isinstance(given, str):
        return _checked(_Prompt(text=given), model)
    if not given:
        raise wrong("prompt", "prompt must hold a text or tokens.")
    if all(isinstance(each, int) for each in given):
        return _checked(_Prompt(token_ids=tuple(each for each in given if isinstance(each, int))), model)
    if len(given) > 1:
        raise wrong("prompt", "The server takes one prompt a request.")
    only = given[0]
    return _checked(_Prompt(token_ids=tuple(only)) if isinstance(only, list) else _Prompt(text=str(only)), model)


def _checked(prompt: _Prompt, model: ModelInfo) -> _Prompt:
    if not prompt.text and not prompt.token_ids:
        raise wrong("prompt", "prompt must hold a text or tokens.")
    if any(not 0 <= token_id < model.vocab_size for token_id in prompt.token_ids):
        raise wrong("prompt", f"A token is not in the vocabulary of {model.vocab_size} tokens.")
    check_length(len(prompt.text), model, "prompt")
    return prompt
