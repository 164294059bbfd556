"""Opens the chat template of a model: the one in its file, or a known or plain one where that does not work."""

from collections.abc import Sequence

from tui_llama.engine.gguf.file import GgufFile
from tui_llama.engine.templates.chat_template import BUILT_IN, ChatTemplate, replaced_words
from tui_llama.engine.templates.known import (
    KNOWN_TEMPLATES,
    PLAIN_STOP_TEXTS,
    PLAIN_TEMPLATE,
    recognize_template,
    template_of_vocabulary,
)
from tui_llama.engine.templates.template_text import stored_template
from tui_llama.engine.tokenizer.tokenizer import Tokenizer
from tui_llama.errors import EngineError


def template_from_gguf(file: GgufFile, tokenizer: Tokenizer) -> ChatTemplate:
    """Opens the chat template of a model file; a known or a plain one if the file has none that works.

    A template that works, but not with all messages, gets the known or plain one as its fallback.
    """
    text, odd = stored_template(file)
    if not text:
        notice = f"{odd or 'The model file has no chat template'}; a plain one is used, and answers may be worse."
        return _plain_template(tokenizer, notice)
    fallback = _fallback(text, tokenizer)
    try:
        template = _open(text, "model file", tokenizer, odd, fallback=fallback)
        template.check()
    except EngineError as error:
        return _fallback(text, tokenizer, replaced_words(error, fallback))
    return template


def _fallback(text: str, tokenizer: Tokenizer, notice: str = "") -> ChatTemplate:
    """Opens the known template that a text stands for, or else the vocabulary; the plain one if neither fits one.

    llama.cpp falls back on ChatML. A model that has no tokens for ChatML would read its marks letter by letter and
    never end an answer, so this function does not.
    """
    name = recognize_template(text) or template_of_vocabulary(lambda mark: tokenizer.token_id(mark) is not None)
    if name is None:
        return _plain_template(tokenizer, notice)
    return _open(KNOWN_TEMPLATES[name], BUILT_IN + name, tokenizer, notice)


def _plain_template(tokenizer: Tokenizer, notice: str) -> ChatTemplate:
    return _open(PLAIN_TEMPLATE, "plain", tokenizer, notice, PLAIN_STOP_TEXTS)


def _open(
    text: str,
    source: str,
    tokenizer: Tokenizer,
    notice: str = "",
    stop_texts: Sequence[str] = (),
    fallback: ChatTemplate | None = None,
) -> ChatTemplate:
    return ChatTemplate(
        text,
        source,
        bos_text="" if tokenizer.bos_id is None else tokenizer.token_text(tokenizer.bos_id),
        eos_text="" if tokenizer.eos_id is None else tokenizer.token_text(tokenizer.eos_id),
        adds_bos=tokenizer.add_bos,
        adds_eos=tokenizer.add_eos,
        notices=(notice,) if notice else (),
        stop_texts=stop_texts,
        fallback=fallback,
        control_spans=tokenizer.control_spans,
    )
