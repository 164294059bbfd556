"""Chat templates: what models expect, known ones by name, hostile ones."""

import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import gguf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.fake_model import byte_tokenizer
from tests.fakes.tiny_model import CHATML_TEMPLATE, make_tiny_model
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.gguf.file import open_gguf
from tui_llama.engine.templates.chat_template import KNOWN_MARKS, ChatTemplate
from tui_llama.engine.templates.known import KNOWN_TEMPLATES, recognize_template, template_of_vocabulary
from tui_llama.engine.templates.model_template import template_from_gguf
from tui_llama.engine.templates.rendered_prompt import RenderedPrompt
from tui_llama.engine.tokenizer.tokenizer import Tokenizer, open_tokenizer
from tui_llama.errors import EngineError

NOW = datetime(2026, 11, 22, 13, 5)
CONVERSATION = (
    ChatMessage(Role.SYSTEM, "You are a helpful assistant"),
    ChatMessage(Role.USER, "Hello"),
    ChatMessage(Role.ASSISTANT, "Hi there"),
    ChatMessage(Role.USER, "Who are you"),
    ChatMessage(Role.ASSISTANT, "   I am an assistant   "),
    ChatMessage(Role.USER, "Another question"),
)
QUESTION = (ChatMessage(Role.USER, "Hello"),)
WITH_SYSTEM = (ChatMessage(Role.SYSTEM, "Be brief"), *QUESTION)


def render(source: str, messages: tuple[ChatMessage, ...] = QUESTION, **more: str | bool) -> str:
    return str(ChatTemplate(source, "test", **more).render(messages, now=NOW))  # type: ignore[arg-type]


def open_from_model(folder: Path, source: str | None, tokenizer: Tokenizer | None = None) -> ChatTemplate:
    """The template of a model whose vocabulary has ChatML's control tokens, or is that of the tokenizer."""
    path = make_tiny_model(folder / "tiny.gguf", chat_template=source)
    with open_gguf(path) as file:
        return template_from_gguf(file, tokenizer or open_tokenizer(path))


# --- what templates expect ---


def test_messages_have_roles_and_contents() -> None:
    source = "{% for message in messages %}[{{ message['role'] }}: {{ message.content }}]{% endfor %}"
    assert render(source, CONVERSATION[1:3]) == "[user: Hello][assistant: Hi there]"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% if add_generation_prompt %}gen{% endif %}", "gen"),
        ("{{ tools is defined }}", "False"),
        ("{{ enable_thinking }}", "True"),
        ("{{ strftime_now('%Y-%m-%d') }}", "2026-11-22"),
        ("{{ date_string }} / {{ datetime }}", "22 Nov 2026 / Nov 22 2026"),
        ("{{ {'a': '<é & \"x\">'} | tojson }}", '{"a": "<é & \\"x\\">"}'),
        ("{{ [1, 2] | tojson(indent=2) }}", "[\n  1,\n  2\n]"),
        ("{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}"
         "{% endfor %}", "013"),
        ("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "1"),
        ("  {% if true %}\n  a\n  {% endif %}\nb\n", "  a\nb"),
        ("{% generation %}a{% endgeneration %}", "a"),
        ("{{ messages[0].content.split('l')[-1] | trim }}", "o"),
        ("{{ 'a,b'.split(',') | join('-') }}{{ '%s!' % 'x' }}{{ 'x' | replace('x', 'y') }}", "a-b" "x!y"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}", "1"),
        ("{% macro twice(x) %}{{ x ~ x }}{% endmacro %}{{ twice('ab') }}", "abab"),
        ("{% for k, v in {'a': 1}.items() %}{{ k }}={{ v }}{% endfor %}", "a=1"),
        ("{{ '{} and {}'.format('a', 'b') }}{{ 'a\nb' | indent(2) }}", "a and ba\n  b"),
        ("{{ [messages[0].role, 'x'] | join }}{{ dict(a=1).a }}{{ 3 * 4 }}{{ '-' * 3 }}{{ 7 % 4 }}", "userx112---3"),
    ],
)  # fmt: skip
def test_a_template_finds_what_it_expects(source: str, text: str) -> None:
    assert render(source) == text


def test_a_text_that_begins_with_what_the_tokenizer_adds_goes_without() -> None:
    source = "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"
    assert render(source, bos_text="<s>", eos_text="</s>") == "<s>Hello</s>"
    assert render(source, bos_text="<s>", eos_text="</s>", adds_bos=True, adds_eos=True) == "Hello"


def test_without_a_generation_prompt_the_text_ends_with_the_last_message() -> None:
    template = ChatTemplate(CHATML_TEMPLATE, "test")
    assert not template.render(QUESTION, add_generation_prompt=False).endswith("assistant\n")


# --- system messages ---


@pytest.mark.parametrize(
    "source",
    [
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{% for m in messages %}[{{ m.content }}]{% endfor %}",
        "{% for m in messages %}{% if m.role == 'user' %}[{{ m.content }}]{% endif %}{% endfor %}",
    ],
)
def test_a_system_message_without_a_place_begins_the_users_message(source: str) -> None:
    assert render(source, WITH_SYSTEM) == "[Be brief\nHello]"


def test_a_system_message_with_a_place_stays_there() -> None:
    assert "system\nBe brief<|im_end|>" in render(CHATML_TEMPLATE, WITH_SYSTEM)


def test_a_system_message_alone_becomes_the_users() -> None:
    source = "{% for m in messages %}{% if m.role == 'user' %}[{{ m.content }}]{% endif %}{% endfor %}"
    assert render(source, WITH_SYSTEM[:1]) == "[Be brief]"


# --- the user's parts ---


@given(texts=st.lists(st.text(max_size=20), min_size=1, max_size=4))
def test_the_users_parts_are_known(texts: list[str]) -> None:
    rendered = ChatTemplate(KNOWN_TEMPLATES["llama3"], "test").render([ChatMessage(Role.USER, text) for text in texts])
    assert rendered.user_spans is not None
    parts = [rendered[start:end] for start, end in rendered.user_spans]
    assert parts == [re.sub("[\ufdd0-\ufdd2]", "\ufffd", text.strip()) for text in texts if text.strip()]


@pytest.mark.parametrize("source", ["{{ messages[0].content | length }}", "{{ messages[0].content[:3] }}"])
def test_the_users_parts_are_unknown_where_a_template_changes_them(source: str) -> None:
    assert ChatTemplate(source, "test").render(QUESTION).user_spans is None


# --- which template ---


def test_the_model_files_own_template_is_used(tmp_path: Path) -> None:
    template = open_from_model(tmp_path, "{{ messages[0].content }}!")
    assert (template.source, template.notices) == ("model file", ())
    assert template.render(QUESTION) == "Hello!"


def test_a_model_without_a_template_gets_a_plain_one_and_a_notice(tmp_path: Path) -> None:
    template = open_from_model(tmp_path, None)
    assert template.source == "plain"
    assert "no chat template" in template.notices[0]
    assert template.render(WITH_SYSTEM) == "Be brief\n\nUser: Hello\nAssistant:"
    assert template.stop_texts_of("plain") == ("\nUser:", "\nAssistant:")


def test_the_plain_template_writes_answers_as_they_were_generated(tmp_path: Path) -> None:
    template = open_from_model(tmp_path, None)
    prompt = template.render(QUESTION)
    for answer in ("word", " word", "\n  word \n"):
        later = template.render([*QUESTION, ChatMessage(Role.ASSISTANT, answer), ChatMessage(Role.USER, "More")])
        assert later.startswith(prompt + answer)


def test_a_template_that_cannot_be_read_is_replaced_by_the_one_that_it_means(tmp_path: Path) -> None:
    template = open_from_model(tmp_path, "{% if %}<|start_header_id|><|end_header_id|>")
    assert template.source == "built in: llama3"
    assert "llama3" in template.notices[0]


def test_a_template_that_means_nothing_known_is_replaced_by_the_one_that_the_vocabulary_means(tmp_path: Path) -> None:
    template = open_from_model(tmp_path, "{% unheard_of %}")
    assert template.source == "built in: chatml"
    assert "the chatml template is used instead" in template.notices[0]


def test_where_the_vocabulary_means_nothing_known_the_plain_template_is_used(tmp_path: Path) -> None:
    assert open_from_model(tmp_path, "{% unheard_of %}", byte_tokenizer()).source == "plain"


@pytest.mark.parametrize(
    ("tokens", "name"),
    [
        (("<|im_start|>", "<|im_end|>"), "chatml"),
        (("<start_of_turn>", "<end_of_turn>"), "gemma"),
        (("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), "llama3"),
        (("[INST]", "[/INST]", "[AVAILABLE_TOOLS]"), "mistral-v3"),
        (("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"), "mistral-v7"),
        (("<s>", "</s>"), None),
    ],
)
def test_a_vocabulary_tells_which_template_its_model_knows(tokens: tuple[str, ...], name: str | None) -> None:
    assert template_of_vocabulary(tokens.__contains__) == name


# --- templates that fail while they run ---


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ messages[0].content }}{{ 1 / 0 }}", "failed: division by zero"),
        ("{{ messages[0].content }}{{ unheard_of() }}", "failed: 'unheard_of' is undefined"),
        ("{{ messages[0].content | unheard_of }}", "cannot be read"),
        ("{{ messages[0].content if messages[0] is unheard_of }}", "failed: No test named 'unheard_of' found;"),
        ("{{ messages[0].content }}{{ raise_exception('only with tools') }}", "refused the messages: only with tools"),
        ("{{ messages[0].content }}{% if messages | length > 1 %}{{ 1 / 0 }}{% endif %}", "division by zero"),
        ("You are a model.", "leaves out the user's messages"),
    ],
)
def test_a_template_that_fails_on_any_chat_is_replaced_when_it_is_opened(
    source: str, words: str, tmp_path: Path
) -> None:
    template = open_from_model(tmp_path, source)
    assert template.source == "built in: chatml"
    assert words in template.notices[0]
    assert str(template.render(QUESTION)).startswith("<|im_start|>user\nHello")


REFUSES_A_WORD = (
    "{% for m in messages %}{% if 'secret' in m.content %}{{ raise_exception('not this') }}{% endif %}"
    "[{{ m.content }}]{% endfor %}"
)


def test_messages_that_a_template_refuses_are_written_by_another_and_that_is_told_once(tmp_path: Path) -> None:
    template = open_from_model(tmp_path, REFUSES_A_WORD)
    assert (template.source, template.notices) == ("model file", ())
    assert template.render(QUESTION) == "[Hello]"
    assert template.take_notices() == ()
    for _ in range(2):
        rendered = template.render([*QUESTION, ChatMessage(Role.USER, "a secret")])
        assert rendered.startswith("<|im_start|>user\nHello<|im_end|>")
        assert rendered.user_spans is not None
    (notice,) = template.take_notices()
    assert "not this; the chatml template is used instead" in notice
    assert template.take_notices() == ()
    assert template.render(QUESTION) == "[Hello]"


@pytest.mark.parametrize(
    "refused",
    [
        "messages | length > 1",
        "messages | selectattr('role', 'equalto', 'user') | list | length > 1",
        "messages[-1].role != messages[0].role or messages[2] is defined",
    ],
)
def test_a_template_for_one_question_writes_that_and_another_the_turns_after_it(refused: str, tmp_path: Path) -> None:
    source = f"{{% if {refused} %}}{{{{ raise_exception('only one') }}}}{{% endif %}}[{{{{ messages[0].content }}}}]"
    template = open_from_model(tmp_path, source)
    assert (template.source, template.notices) == ("model file", ())
    assert template.render(QUESTION) == "[Hello]"
    assert template.take_notices() == ()
    talk = [*QUESTION, ChatMessage(Role.ASSISTANT, "Yes"), ChatMessage(Role.USER, "More")]
    for _ in range(2):
        rendered = template.render(talk)
        assert rendered.startswith("<|im_start|>user\nHello<|im_end|>") and "More" in rendered
        assert rendered.source == "built in: chatml"
    (notice,) = template.take_notices()
    assert "only one; the chatml template is used instead" in notice
    assert template.render(QUESTION) == "[Hello]"


def test_what_ends_the_answers_of_the_other_template_ends_only_these(tmp_path: Path) -> None:
    template = open_from_model(tmp_path, REFUSES_A_WORD, byte_tokenizer())
    own = template.render(QUESTION)
    assert template.stop_texts_of("") == ()
    replaced = template.render([ChatMessage(Role.USER, "a secret")])
    assert isinstance(own, RenderedPrompt)
    assert isinstance(replaced, RenderedPrompt)
    assert template.stop_texts_of(own.source) == ()
    assert "\nUser:" in template.stop_texts_of(replaced.source)
    assert "\nUser:" in template.stop_texts_of("")


def test_without_another_template_what_is_refused_stays_refused(tmp_path: Path) -> None:
    template = open_from_model(tmp_path, REFUSES_A_WORD, byte_tokenizer())
    strict = template.without_fallback()
    assert strict.render(QUESTION) == template.render(QUESTION)
    with pytest.raises(EngineError, match="refused the messages: not this"):
        strict.render([ChatMessage(Role.USER, "a secret")])
    assert template.take_notices() == ()
    assert template.stop_texts_of("") == ()


def test_a_system_prompt_without_a_place_is_told_once() -> None:
    template = ChatTemplate(KNOWN_TEMPLATES["chatml"], "test")
    template.render(WITH_SYSTEM)
    assert template.take_notices() == ()
    template = ChatTemplate("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}", "test")
    assert [template.render(WITH_SYSTEM), template.render(WITH_SYSTEM)] == ["Be brief\nHello"] * 2
    (notice,) = template.take_notices()
    assert "no place for a system prompt" in notice


def test_a_template_that_is_no_text_is_replaced_by_the_plain_one(tmp_path: Path) -> None:
    path = tmp_path / "wrong.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("tokenizer.chat_template", 7)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    tokenizer = open_tokenizer(make_tiny_model(tmp_path / "tiny.gguf"))
    with open_gguf(path) as file:
        template = template_from_gguf(file, tokenizer)
    assert template.source == "plain"
    assert template.notices[0].startswith("The chat template of the model file is not text; a plain one is used")


EXPECTED = {
    "chatml": "<|im_start|>system\nYou are a helpful assistant<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n"
    "<|im_start|>assistant\nHi there<|im_end|>\n<|im_start|>user\nWho are you<|im_end|>\n<|im_start|>assistant\n"
    "   I am an assistant   <|im_end|>\n<|im_start|>user\nAnother question<|im_end|>\n<|im_start|>assistant\n",
    "llama2": "[INST] You are a helpful assistant\nHello [/INST]Hi there</s>[INST] Who are you [/INST]"
    "   I am an assistant   </s>[INST] Another question [/INST]",
    "llama2-sys": "[INST] <<SYS>>\nYou are a helpful assistant\n<</SYS>>\n\nHello [/INST]Hi there</s>"
    "[INST] Who are you [/INST]   I am an assistant   </s>[INST] Another question [/INST]",
    "llama2-sys-bos": "[INST] <<SYS>>\nYou are a helpful assistant\n<</SYS>>\n\nHello [/INST]Hi there</s>"
    "<s>[INST] Who are you [/INST]   I am an assistant   </s><s>[INST] Another question [/INST]",
    "llama2-sys-strip": "[INST] <<SYS>>\nYou are a helpful assistant\n<</SYS>>\n\nHello [/INST]Hi there</s>"
    "[INST] Who are you [/INST]I am an assistant</s>[INST] Another question [/INST]",
    "llama3": "<|start_header_id|>system<|end_header_id|>\n\nYou are a helpful assistant<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    "Hi there<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nWho are you<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nI am an assistant<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nAnother question<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "mistral-v1": " [INST] You are a helpful assistant\n\nHello [/INST] Hi there</s> [INST] Who are you [/INST]"
    "    I am an assistant   </s> [INST] Another question [/INST]",
    "mistral-v3": "[INST] You are a helpful assistant\n\nHello[/INST] Hi there</s>[INST] Who are you[/INST]"
    " I am an assistant</s>[INST] Another question[/INST]",
    "mistral-v3-tekken": "[INST]You are a helpful assistant\n\nHello[/INST]Hi there</s>[INST]Who are you[/INST]"
    "   I am an assistant   </s>[INST]Another question[/INST]",
    "mistral-v7": "[SYSTEM_PROMPT] You are a helpful assistant[/SYSTEM_PROMPT][INST] Hello[/INST] Hi there</s>"
    "[INST] Who are you[/INST]    I am an assistant   </s>[INST] Another question[/INST]",
    "gemma": "<start_of_turn>user\nYou are a helpful assistant\n\nHello<end_of_turn>\n<start_of_turn>model\n"
    "Hi there<end_of_turn>\n<start_of_turn>user\nWho are you<end_of_turn>\n<start_of_turn>model\n"
    "I am an assistant<end_of_turn>\n<start_of_turn>user\nAnother question<end_of_turn>\n<start_of_turn>model\n",
    "phi3": "<|system|>\nYou are a helpful assistant<|end|>\n<|user|>\nHello<|end|>\n<|assistant|>\nHi there<|end|>\n"
    "<|user|>\nWho are you<|end|>\n<|assistant|>\n   I am an assistant   <|end|>\n<|user|>\nAnother question<|end|>\n"
    "<|assistant|>\n",
    "phi4": "<|im_start|>system<|im_sep|>You are a helpful assistant<|im_end|><|im_start|>user<|im_sep|>Hello<|im_end|>"
    "<|im_start|>assistant<|im_sep|>Hi there<|im_end|><|im_start|>user<|im_sep|>Who are you<|im_end|>"
    "<|im_start|>assistant<|im_sep|>   I am an assistant   <|im_end|><|im_start|>user<|im_sep|>Another question"
    "<|im_end|><|im_start|>assistant<|im_sep|>",
    "zephyr": "<|system|>\nYou are a helpful assistant<|endoftext|>\n<|user|>\nHello<|endoftext|>\n<|assistant|>\n"
    "Hi there<|endoftext|>\n<|user|>\nWho are you<|endoftext|>\n<|assistant|>\n   I am an assistant   <|endoftext|>\n"
    "<|user|>\nAnother question<|endoftext|>\n<|assistant|>\n",
    "falcon3": "<|system|>\nYou are a helpful assistant\n<|user|>\nHello\n<|assistant|>\nHi there\n<|user|>\n"
    "Who are you\n<|assistant|>\n   I am an assistant   \n<|user|>\nAnother question\n<|assistant|>\n",
    "deepseek2": "You are a helpful assistant\n\nUser: Hello\n\nAssistant: Hi there<｜end▁of▁sentence｜>"
    "User: Who are you\n\nAssistant:    I am an assistant   <｜end▁of▁sentence｜>User: Another question\n\nAssistant:",
    "deepseek3": "You are a helpful assistant\n\n<｜User｜>Hello<｜Assistant｜>Hi there<｜end▁of▁sentence｜>"
    "<｜User｜>Who are you<｜Assistant｜>   I am an assistant   <｜end▁of▁sentence｜>"
    "<｜User｜>Another question<｜Assistant｜>",
    "command-r": "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>You are a helpful assistant<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hello<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>Hi there<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Who are you<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>I am an assistant<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Another question<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
    "vicuna": "You are a helpful assistant\n\nUSER: Hello\nASSISTANT: Hi there</s>\nUSER: Who are you\n"
    "ASSISTANT:    I am an assistant   </s>\nUSER: Another question\nASSISTANT:",
    "vicuna-orca": "SYSTEM: You are a helpful assistant\nUSER: Hello\nASSISTANT: Hi there</s>\nUSER: Who are you\n"
    "ASSISTANT:    I am an assistant   </s>\nUSER: Another question\nASSISTANT:",
    "granite": "<|start_of_role|>system<|end_of_role|>You are a helpful assistant<|end_of_text|>\n"
    "<|start_of_role|>user<|end_of_role|>Hello<|end_of_text|>\n"
    "<|start_of_role|>assistant<|end_of_role|>Hi there<|end_of_text|>\n"
    "<|start_of_role|>user<|end_of_role|>Who are you<|end_of_text|>\n"
    "<|start_of_role|>assistant<|end_of_role|>   I am an assistant   <|end_of_text|>\n"
    "<|start_of_role|>user<|end_of_role|>Another question<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
    "chatglm4": "[gMASK]<sop><|system|>\nYou are a helpful assistant<|user|>\nHello<|assistant|>\nHi there<|user|>\n"
    "Who are you<|assistant|>\n   I am an assistant   <|user|>\nAnother question<|assistant|>",
    "llama4": "<|header_start|>system<|header_end|>\n\nYou are a helpful assistant<|eot|><|header_start|>user"
    "<|header_end|>\n\nHello<|eot|><|header_start|>assistant<|header_end|>\n\nHi there<|eot|><|header_start|>user"
    "<|header_end|>\n\nWho are you<|eot|><|header_start|>assistant<|header_end|>\n\nI am an assistant<|eot|>"
    "<|header_start|>user<|header_end|>\n\nAnother question<|eot|><|header_start|>assistant<|header_end|>\n\n",
    "gemma4": "<|turn>system\nYou are a helpful assistant<turn|>\n<|turn>user\nHello<turn|>\n<|turn>model\nHi there"
    "<turn|>\n<|turn>user\nWho are you<turn|>\n<|turn>model\nI am an assistant<turn|>\n<|turn>user\nAnother question"
    "<turn|>\n<|turn>model\n",
    "gpt-oss": "<|start|>developer<|message|>You are a helpful assistant<|end|><|start|>user<|message|>Hello<|end|>"
    "<|start|>assistant<|channel|>final<|message|>Hi there<|end|><|start|>user<|message|>Who are you<|end|>"
    "<|start|>assistant<|channel|>final<|message|>   I am an assistant   <|end|><|start|>user<|message|>"
    "Another question<|end|><|start|>assistant",
    "seed_oss": "<seed:bos>system\nYou are a helpful assistant<seed:eos><seed:bos>user\nHello<seed:eos>"
    "<seed:bos>assistant\nHi there<seed:eos><seed:bos>user\nWho are you<seed:eos><seed:bos>assistant\n"
    "I am an assistant<seed:eos><seed:bos>user\nAnother question<seed:eos><seed:bos>assistant\n",
}


@pytest.mark.parametrize("name", sorted(KNOWN_TEMPLATES))
def test_known_templates_write_what_their_models_know(name: str) -> None:
    assert render(KNOWN_TEMPLATES[name], CONVERSATION) == EXPECTED[name]


@pytest.mark.parametrize("name", sorted(KNOWN_TEMPLATES))
def test_blanks_before_answers_are_known_where_answers_begin_without(name: str) -> None:
    rendered = ChatTemplate(KNOWN_TEMPLATES[name], "test").render(CONVERSATION, now=NOW)
    blanks = [rendered[slice(*blank)] for blank in rendered.answer_blanks]
    before = {
        "deepseek2": " ",
        "mistral-v1": " ",
        "mistral-v7": " ",
        "vicuna": " ",
        "vicuna-orca": " ",
        "chatglm4": "\n",
    }
    trimmed = {"mistral-v3": " "}
    answers = [before[name], before[name] + "   "] if name in before else [trimmed[name]] * 2 if name in trimmed else []
    assert blanks == answers


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("<|im_start|>", "chatml"),
        ("<|im_start|> <|im_sep|>", "phi4"),
        ("[INST] [SYSTEM_PROMPT]", "mistral-v7"),
        ("' [INST] ' + system_message", "mistral-v1"),
        ("[AVAILABLE_TOOLS] \"[INST]\"", "mistral-v3-tekken"),
        ("[AVAILABLE_TOOLS][INST]", "mistral-v3"),
        ("[INST] content.strip()", "llama2-sys-strip"),
        ("bos_token + '[INST]", "llama2-sys-bos"),
        ("[INST]<<SYS>>", "llama2-sys"),
        ("[INST]", "llama2"),
        ("<|assistant|><|end|>", "phi3"),
        ("<|assistant|><|user|></s>", "falcon3"),
        ("<|user|><|endoftext|>", "zephyr"),
        ("<start_of_turn>", "gemma"),
        ("USER: ASSISTANT: ", "vicuna"),
        ("USER: ASSISTANT: SYSTEM: ", "vicuna-orca"),
        ("<|START_OF_TURN_TOKEN|><|USER_TOKEN|>", "command-r"),
        ("<|start_header_id|><|end_header_id|>", "llama3"),
        ("'Assistant: ' + message['content'] + eos_token", "deepseek2"),
        ("<｜Assistant｜><｜User｜><｜end▁of▁sentence｜>", "deepseek3"),
        ("<|start_of_role|>", "granite"),
        ("<|turn><turn|>", "gemma4"),
        ("<|start|><|channel|>", "gpt-oss"),
        ("<seed:bos>", "seed_oss"),
        ("{{ messages }}", None),
    ],
)  # fmt: skip
def test_a_template_is_recognised_by_its_marks(source: str, name: str | None) -> None:
    assert recognize_template(source) == name


def test_the_marks_of_thoughts_and_tool_calls_are_those_that_the_template_writes(tmp_path: Path) -> None:
    source = "{{ messages[0].content }}{% if tools %}<tool_call>{% endif %}{{ '<think>' }}"
    assert open_from_model(tmp_path, source).marks == ("<think>", "<tool_call>")
    assert open_from_model(tmp_path, CHATML_TEMPLATE).marks == ()
    assert set(open_from_model(tmp_path, CHATML_TEMPLATE + "{{ '" + "".join(KNOWN_MARKS) + "' }}").marks) == set(
        KNOWN_MARKS
    )


def test_importing_chat_templates_does_not_import_jinja() -> None:
    code = "import sys, tui_llama.engine.templates.chat_template; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
