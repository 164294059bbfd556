"""Chat templates known by name, in Jinja, and the marks by which a template's text is recognised as one of them.

They write what llama.cpp's built-in formatters write: no beginning-of-sequence text (the tokenizer adds the token) and
no system message that nobody asked for. llama.cpp has none for Gemma 4, and its one for gpt-oss leaves out the channels
that the model writes; these two follow what Google and OpenAI (the harmony format) publish.

Source: llama.cpp, src/llama-chat.cpp.
"""

from collections.abc import Callable

_CHATML = """\
{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

_LLAMA3 = """\
{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>

{{ m.content | trim }}<|eot_id|>{% endfor %}
{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>

{% endif %}"""

_LLAMA4 = """\
{% for m in messages %}<|header_start|>{{ m.role }}<|header_end|>

{{ m.content | trim }}<|eot|>{% endfor %}
{% if add_generation_prompt %}<|header_start|>assistant<|header_end|>

{% endif %}"""

_LLAMA2 = """\
{% set ns = namespace(inside=true) %}
[INST] {% for m in messages %}
{% set content = m.content | trim if STRIP else m.content %}
{% if not ns.inside %}{% set ns.inside = true %}{{ BOS }}[INST] {% endif %}
{% if m.role == 'system' %}{{ '<<SYS>>\\n' ~ content ~ '\\n<</SYS>>\\n\\n' if SYSTEM else content ~ '\\n' }}
{%- elif m.role == 'user' %}{{ content }} [/INST]
{%- else %}{{ content }}</s>{% set ns.inside = false %}
{% endif %}
{% endfor %}"""

_MISTRAL = """\
{% set ns = namespace(inside=false) %}
{% for m in messages %}
{% if not ns.inside %}{% set ns.inside = true %}{{ BEFORE }}[INST]{{ AFTER }}{% endif %}
{% if m.role == 'system' %}{{ m.content ~ '\\n\\n' }}
{%- elif m.role == 'user' %}{{ m.content ~ BEFORE }}[/INST]
{%- else %}{{ AFTER ~ (m.content | trim if STRIP else m.content) }}</s>{% set ns.inside = false %}
{% endif %}
{% endfor %}"""

_MISTRAL_V7 = """\
{% for m in messages %}
{% if m.role == 'system' %}[SYSTEM_PROMPT] {{ m.content }}[/SYSTEM_PROMPT]
{%- elif m.role == 'user' %}[INST] {{ m.content }}[/INST]
{%- else %} {{ m.content }}</s>
{%- endif %}
{% endfor %}"""

_GEMMA = """\
{% set ns = namespace(system='') %}
{% for m in messages %}
{% if m.role == 'system' %}{% set ns.system = m.content | trim %}
{% else %}
<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}
{% if ns.system and m.role != 'assistant' %}{{ ns.system ~ '\\n\\n' }}{% set ns.system = '' %}{% endif %}
{{ m.content | trim }}<end_of_turn>
{% endif %}
{% endfor %}
{% if add_generation_prompt %}<start_of_turn>model
{% endif %}"""

_PHI3 = """\
{% for m in messages %}<|{{ m.role }}|>
{{ m.content }}<|end|>
{% endfor %}{% if add_generation_prompt %}<|assistant|>
{% endif %}"""

_PHI4 = """\
{% for m in messages %}<|im_start|>{{ m.role }}<|im_sep|>{{ m.content }}<|im_end|>{% endfor %}
{% if add_generation_prompt %}<|im_start|>assistant<|im_sep|>{% endif %}"""

_ZEPHYR = """\
{% for m in messages %}<|{{ m.role }}|>
{{ m.content }}<|endoftext|>
{% endfor %}{% if add_generation_prompt %}<|assistant|>
{% endif %}"""

_FALCON3 = """\
{% for m in messages %}<|{{ m.role }}|>
{{ m.content }}
{% endfor %}{% if add_generation_prompt %}<|assistant|>
{% endif %}"""

_DEEPSEEK2 = """\
{% for m in messages %}
{% if m.role == 'system' %}{{ m.content ~ '\\n\\n' }}
{%- elif m.role == 'user' %}User: {{ m.content ~ '\\n\\n' }}
{%- else %}Assistant: {{ m.content }}<｜end▁of▁sentence｜>
{%- endif %}
{% endfor %}
{% if add_generation_prompt %}Assistant:{% endif %}"""

_DEEPSEEK3 = """\
{% for m in messages %}
{% if m.role == 'system' %}{{ m.content ~ '\\n\\n' }}
{%- elif m.role == 'user' %}<｜User｜>{{ m.content }}
{%- else %}<｜Assistant｜>{{ m.content }}<｜end▁of▁sentence｜>
{%- endif %}
{% endfor %}
{% if add_generation_prompt %}<｜Assistant｜>{% endif %}"""

_COMMAND_R = """\
{% set names = {'system': 'SYSTEM', 'user': 'USER', 'assistant': 'CHATBOT'} %}
{% for m in messages %}
<|START_OF_TURN_TOKEN|><|{{ names[m.role] }}_TOKEN|>{{ m.content | trim }}<|END_OF_TURN_TOKEN|>
{%- endfor %}
{% if add_generation_prompt %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{% endif %}"""

_VICUNA = """\
{% for m in messages %}
{% if m.role == 'system' %}{{ 'SYSTEM: ' ~ m.content ~ '\\n' if ORCA else m.content ~ '\\n\\n' }}
{%- elif m.role == 'user' %}USER: {{ m.content ~ '\\n' }}
{%- else %}ASSISTANT: {{ m.content ~ '</s>\\n' }}
{%- endif %}
{% endfor %}
{% if add_generation_prompt %}ASSISTANT:{% endif %}"""

_GRANITE = """\
{% for m in messages %}<|start_of_role|>{{ m.role }}<|end_of_role|>{{ m.content }}<|end_of_text|>
{% endfor %}{% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}"""

_CHATGLM4 = """\
[gMASK]<sop>{% for m in messages %}<|{{ m.role }}|>
{{ m.content }}{% endfor %}
{% if add_generation_prompt %}<|assistant|>{% endif %}"""

_GEMMA4 = """\
{% for m in messages %}<|turn>{{ 'model' if m.role == 'assistant' else m.role }}
{{ m.content | trim }}<turn|>
{% endfor %}{% if add_generation_prompt %}<|turn>model
{% endif %}"""

_GPT_OSS = """\
{% for m in messages %}<|start|>{{ 'developer' if m.role == 'system' else m.role }}
{%- if m.role == 'assistant' %}<|channel|>final{% endif %}<|message|>{{ m.content }}<|end|>{% endfor %}
{% if add_generation_prompt %}<|start|>assistant{% endif %}"""

_SEED_OSS = """\
{% for m in messages %}<seed:bos>{{ m.role }}
{{ m.content | trim if m.role == 'assistant' else m.content }}<seed:eos>{% endfor %}
{% if add_generation_prompt %}<seed:bos>assistant
{% endif %}"""

PLAIN_TEMPLATE = """\
{% for m in messages %}
{% if m.role == 'system' %}{{ m.content ~ '\\n\\n' }}
{%- elif m.role == 'user' %}User: {{ m.content ~ '\\n' }}
{%- else %}Assistant:{{ m.content ~ '\\n' }}
{%- endif %}
{% endfor %}
{% if add_generation_prompt %}Assistant:{% endif %}"""
PLAIN_STOP_TEXTS = ("\nUser:", "\nAssistant:")
"""A model that was not trained to chat goes on with the conversation: both names begin another turn."""


def _with(source: str, **values: str | bool) -> str:
    """Returns `source` with values for some of the variables that it names in capitals."""
    settings = (f"{{% set {name} = {value!r} %}}" for name, value in values.items())
    return "".join(settings).replace("True", "true").replace("False", "false") + source


KNOWN_TEMPLATES: dict[str, str] = {
    "chatml": _CHATML,
    "llama2": _with(_LLAMA2, SYSTEM=False, STRIP=False, BOS=""),
    "llama2-sys": _with(_LLAMA2, SYSTEM=True, STRIP=False, BOS=""),
    "llama2-sys-bos": _with(_LLAMA2, SYSTEM=True, STRIP=False, BOS="<s>"),
    "llama2-sys-strip": _with(_LLAMA2, SYSTEM=True, STRIP=True, BOS=""),
    "llama3": _LLAMA3,
    "llama4": _LLAMA4,
    "mistral-v1": _with(_MISTRAL, BEFORE=" ", AFTER=" ", STRIP=False),
    "mistral-v3": _with(_MISTRAL, BEFORE="", AFTER=" ", STRIP=True),
    "mistral-v3-tekken": _with(_MISTRAL, BEFORE="", AFTER="", STRIP=False),
    "mistral-v7": _MISTRAL_V7,
    "gemma": _GEMMA,
    "phi3": _PHI3,
    "phi4": _PHI4,
    "zephyr": _ZEPHYR,
    "falcon3": _FALCON3,
    "deepseek2": _DEEPSEEK2,
    "deepseek3": _DEEPSEEK3,
    "command-r": _COMMAND_R,
    "vicuna": _with(_VICUNA, ORCA=False),
    "vicuna-orca": _with(_VICUNA, ORCA=True),
    "granite": _GRANITE,
    "chatglm4": _CHATGLM4,
    "gemma4": _GEMMA4,
    "gpt-oss": _GPT_OSS,
    "seed_oss": _SEED_OSS,
}


def recognize_template(source: str) -> str | None:
    """Returns the name of the known template that `source` means, judged by its marks, in llama.cpp's order."""
    for name, *marks in _MARKS:
        if all(mark in source for mark in marks):
            return name if isinstance(name, str) else name(source)
    return None


def template_of_vocabulary(has_token: Callable[[str], bool]) -> str | None:
    """Returns the name of the known template whose marks are tokens of a vocabulary, as its model's training requires.

    Args:
        has_token: Tells whether a text is a token of the vocabulary.
    """
    return recognize_template("\n".join(filter(has_token, _MARKS_OF_VOCABULARIES)))


def _mistral_or_llama2(source: str) -> str:
    if "[SYSTEM_PROMPT]" in source:
        return "mistral-v7"
    if "' [INST] ' + system_message" in source or "[AVAILABLE_TOOLS]" in source:
        if " [INST]" in source:
            return "mistral-v1"
        return "mistral-v3-tekken" if '"[INST]"' in source else "mistral-v3"
    if "content.strip()" in source:
        return "llama2-sys-strip"
    if "bos_token + '[INST]" in source:
        return "llama2-sys-bos"
    return "llama2-sys" if "<<SYS>>" in source else "llama2"


_Row = tuple[str | Callable[[str], str], *tuple[str, ...]]

_MARKS: tuple[_Row, ...] = (
    ("phi4", "<|im_start|>", "<|im_sep|>"),
    ("chatml", "<|im_start|>"),
    (_mistral_or_llama2, "[INST]"),
    ("phi3", "<|assistant|>", "<|end|>"),
    ("chatglm4", "[gMASK]<sop>"),
    ("falcon3", "<|assistant|>", "<|user|>", "</s>"),
    ("zephyr", "<|user|>", "<|endoftext|>"),
    ("gemma", "<start_of_turn>"),
    ("vicuna-orca", "USER: ", "ASSISTANT: ", "SYSTEM: "),
    ("vicuna", "USER: ", "ASSISTANT: "),
    ("command-r", "<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>"),
    ("llama3", "<|start_header_id|>", "<|end_header_id|>"),
    ("deepseek2", "'Assistant: ' + message['content'] + eos_token"),
    ("deepseek3", "<｜Assistant｜>", "<｜User｜>", "<｜end▁of▁sentence｜>"),
    ("granite", "<|start_of_role|>"),
    ("llama4", "<|header_start|>", "<|header_end|>"),
    ("gpt-oss", "<|start|>", "<|channel|>"),
    ("seed_oss", "<seed:bos>"),
    ("gemma4", "<|turn>", "<turn|>"),
)

_MARKS_OF_VOCABULARIES = (
    *{mark for _, *marks in _MARKS for mark in marks},
    *("[SYSTEM_PROMPT]", "[AVAILABLE_TOOLS]"),
)
