"""Which of the texts in a model file is taken for its chat template."""

from pathlib import Path

import pytest

from tests.fakes.gguf_bytes import array, gguf_bytes, scalar
from tui_llama.engine.gguf.file import ValueType, open_gguf
from tui_llama.engine.gguf.header import MAX_STRING_BYTES
from tui_llama.engine.templates.template_text import stored_template

KEY = "tokenizer.chat_template"


def text(key: str, content: str) -> bytes:
    return scalar(key, ValueType.STRING, content)


def texts(key: str, *contents: str) -> bytes:
    return array(key, ValueType.STRING, contents)


@pytest.mark.parametrize(
    ("entries", "template", "odd"),
    [
        ([], "", ""),
        ([text(KEY, " \n")], "", ""),
        ([text(KEY, "{{ 1 }}")], "{{ 1 }}", ""),
        ([text(KEY, "{{ 1 }}"), texts("tokenizer.chat_templates", "tool_use"), text(f"{KEY}.tool_use", "{{ 2 }}")],
         "{{ 1 }}", ""),
        ([texts("tokenizer.chat_templates", "tool_use", "rag"), text(f"{KEY}.rag", "r"), text(f"{KEY}.tool_use", "t")],
         "t", "The model file has several chat templates; the one named 'tool_use' is used."),
        ([text(f"{KEY}.rag", "r"), text(f"{KEY}.default", "d")],
         "d", "The model file has several chat templates; the one named 'default' is used."),
        ([texts(KEY, "default", "tool_use")], "", "The chat template of the model file is not text"),
        ([texts(KEY)], "", "The chat template of the model file is not text"),
        ([texts(KEY, "default", "{% if x %}{% endif %}", "{{ 2 }}")],
         "{% if x %}{% endif %}", "The chat template of the model file is not text; the one at place 2 is used."),
        ([texts(KEY, "default"), text(f"{KEY}.default", "d")],
         "d", "The chat template of the model file is not text; the one named 'default' is used."),
        ([scalar(KEY, ValueType.UINT32, 7)], "", "The chat template of the model file is not text"),
        ([array(KEY, ValueType.UINT32, [7])], "", "The chat template of the model file is not text"),
        ([text(KEY, "x" * (MAX_STRING_BYTES + 1))], "", "The chat template of the model file is too long"),
    ],
)  # fmt: skip
def test_the_best_text_is_taken_and_what_is_odd_is_told(
    entries: list[bytes], template: str, odd: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_bytes(entries))
    with open_gguf(path) as file:
        assert stored_template(file) == (template, odd)
