"""Finds the chat template among the texts in a model file.

A file has one template under `tokenizer.chat_template`, or several: each under that key, a dot and its name, with the
names in `tokenizer.chat_templates`. Some converters put all of them into one array.
"""

from collections.abc import Iterator
from typing import Final

from tui_llama.engine.gguf.file import GgufFile, SkippedValue, StringArray

TEMPLATE_KEY: Final = "tokenizer.chat_template"
_NAMED_KEY: Final = f"{TEMPLATE_KEY}."
_NAMES_KEY: Final = "tokenizer.chat_templates"
_DEFAULT_NAME: Final = "default"
_JINJA_MARKS: Final = ("{{", "{%")


def stored_template(file: GgufFile) -> tuple[str, str]:
    """Returns the chat template of a file, and a notice if anything about it is odd.

    Returns:
        The text, empty if there is none; and words for the user, empty if nothing is odd.
    """
    value = file.metadata.get(TEMPLATE_KEY)
    if isinstance(value, str) and value.strip():
        return value, ""
    odd = "" if value is None or isinstance(value, str) else "The chat template of the model file is not text"
    if isinstance(value, SkippedValue):
        odd = "The chat template of the model file is too long"
    for name, text in _others(file):
        if text.strip():
            return text, f"{odd or 'The model file has several chat templates'}; {name} is used."
    return "", odd


def _others(file: GgufFile) -> Iterator[tuple[str, str]]:
    """Yields other texts that may be the template, the best first, each with a name for it."""
    names = file.metadata.get(_NAMES_KEY)
    listed = list(names) if isinstance(names, StringArray) else []
    stored = [key.removeprefix(_NAMED_KEY) for key in file.metadata if key.startswith(_NAMED_KEY)]
    for name in dict.fromkeys([_DEFAULT_NAME, *listed, *stored]):
        text = file.metadata.get(_NAMED_KEY + name)
        if isinstance(text, str):
            yield f"the one named {name[:40]!a}", text
    several = file.metadata.get(TEMPLATE_KEY)
    if isinstance(several, StringArray):
        for index, text in enumerate(several):
            if any(mark in text for mark in _JINJA_MARKS):
                yield f"the one at place {index + 1}", text
