"""Chat templates that know tools, each as a family of models has it but shorter, and a conversation with tools."""

import json

from tui_llama.chat import ChatMessage, Role

HERMES = """\
{%- if tools %}<|im_start|>system
{% if messages[0].role == 'system' %}{{ messages[0].content ~ '\\n\\n' }}{% endif %}# Tools
<tools>{% for tool in tools %}{{ '\\n' }}{{ tool | tojson }}{% endfor %}{{ '\\n</tools>' }}
Call as <tool_call>{"name": <name>, "arguments": <arguments>}</tool_call><|im_end|>
{% elif messages[0].role == 'system' %}<|im_start|>system
{{ messages[0].content }}<|im_end|>
{% endif %}
{%- for message in messages %}
{%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% elif message.role == 'assistant' %}<|im_start|>assistant
{{ message.content }}
{%- for tool_call in message.tool_calls %}{% set call = tool_call.function if tool_call.function else tool_call %}
{%- if message.content or not loop.first %}{{ '\\n' }}{% endif %}<tool_call>
{"name": "{{ call.name }}", "arguments": {{ call.arguments | tojson }}}
</tool_call>
{%- endfor %}<|im_end|>
{% elif message.role == 'tool' %}
{%- if loop.index0 == 0 or messages[loop.index0 - 1].role != 'tool' %}<|im_start|>user{% endif %}
{{- '\\n<tool_response>\\n' ~ message.content ~ '\\n</tool_response>' }}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}<|im_end|>
{% endif %}{% endif %}{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and enable_thinking is false %}<think>

</think>

{% endif %}{% endif %}"""
"""As Qwen2.5 and Hermes."""

LLAMA = """\
{%- if not tools is defined %}{% set tools = none %}{% endif %}
{%- if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] | trim %}{% set rest = messages[1:] %}
{%- else %}{% set system = '' %}{% set rest = messages %}{% endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' ~ ('Environment: ipython\\n' if tools) ~ system ~ '<|eot_id|>' }}
{%- if tools is not none %}
{%- set first = rest[0]['content'] | trim %}{% set rest = rest[1:] %}
{{- '<|start_header_id|>user<|end_header_id|>\\n\\nAnswer with a call of one of these functions.\\n\\n' }}
{%- for tool in tools %}{{ tool | tojson(indent=4) }}{{ '\\n\\n' }}{% endfor %}{{ first + '<|eot_id|>' }}
{%- endif %}
{%- for message in rest %}
{%- if 'tool_calls' in message %}
{%- if message.tool_calls | length != 1 %}{{ raise_exception('This model only supports single tool-calls at once!') }}
{%- endif %}{% set tool_call = message.tool_calls[0].function %}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n{"name": "' + tool_call.name + '", "parameters": ' }}
{{- tool_call.arguments | tojson }}{{ '}<|eot_id|>' }}
{%- elif message.role in ['tool', 'ipython'] %}
{{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' }}
{%- if message.content is mapping or message.content is iterable %}{{ message.content | tojson }}
{%- else %}{{ message.content }}{% endif %}{{ '<|eot_id|>' }}
{%- else %}
{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""
"""As Llama 3.1."""

MISTRAL = """\
{%- set users = messages | selectattr('role', 'equalto', 'user') | list %}
{%- for message in messages %}
{%- if message.role == 'user' %}
{%- if tools is not none and message == users[-1] %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}
{{- '[INST]' + message.content + '[/INST]' }}
{%- elif message.role == 'system' %}{{ '[SYSTEM_PROMPT]' + message.content + '[/SYSTEM_PROMPT]' }}
{%- elif message.tool_calls is defined and message.tool_calls is not none %}[TOOL_CALLS][
{%- for tool_call in message.tool_calls %}{% set out = tool_call.function | tojson %}{{ out[:-1] }}
{%- if not tool_call.id is defined or tool_call.id | length != 9 %}
{{- raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}{% endif %}
{{- ', "id": "' + tool_call.id + '"}' }}{{ ', ' if not loop.last else ']' + eos_token }}{% endfor %}
{%- elif message.role == 'assistant' %}{{ message.content + eos_token }}
{%- elif message.role == 'tool' %}
{{- '[TOOL_RESULTS]{"content": ' + message.content | string + ', "call_id": "' + message.tool_call_id + '"}' }}
{{- '[/TOOL_RESULTS]' }}
{%- else %}{{ raise_exception('Only user, system, assistant and tool roles are supported') }}
{%- endif %}{% endfor %}"""
"""As Mistral 7B v0.3."""

JOINING = """\
{%- for message in messages %}
{%- if message.role == 'assistant' and message.tool_calls is defined %}
{%- for call in message.tool_calls %}
{{- '<|call|>' + call['function']['name'] + '\\n' + call['function']['arguments'] + '<|end|>' }}{% endfor %}
{%- elif message.role == 'tool' %}{{ '<|output|>' + message.content + '<|end|>' }}
{%- else %}{{ '<|' + message.role + '|>' + message.content + '<|end|>' }}
{%- endif %}{% endfor %}{{ '<|assistant|>' if add_generation_prompt }}"""
"""As DeepSeek: it joins the arguments of a call as a text, and writes no tools."""

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Tells the weather of a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "The city."}},
                "required": ["city"],
            },
        },
    }
]
TOOL_VALUES = json.dumps({"tools": TOOLS})
ARGUMENTS = '{"city": "Paris"}'

SYSTEM = ChatMessage(Role.SYSTEM, "You are an agent.")
QUESTION = ChatMessage(Role.USER, "How is the weather?")


def calling(arguments: str = ARGUMENTS, text: str = "", name: str = "get_weather") -> ChatMessage:
    """Returns an answer of the model that calls a tool."""
    call = {"id": "abc123def", "type": "function", "function": {"name": name, "arguments": arguments}}
    return ChatMessage(Role.ASSISTANT, text, fields=json.dumps({"tool_calls": [call]}))


def answered(text: str) -> ChatMessage:
    """Returns the answer of a tool to that call."""
    return ChatMessage(Role.TOOL, text, fields='{"tool_call_id": "abc123def", "name": "get_weather"}')


AGENT = (SYSTEM, QUESTION, calling(), answered("Sunny."))
