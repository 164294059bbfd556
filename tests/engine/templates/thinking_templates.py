"""Chat templates of families that think, as their models' files have them, without what they do for tools."""

QWEN3 = """\
{%- set ns = namespace(last=-1) %}
{%- for m in messages[::-1] %}{% set index = (messages|length - 1) - loop.index0 %}
{%- if m.role == 'user' and ns.last < 0 %}{% set ns.last = index %}{% endif %}{% endfor %}
{%- for m in messages %}
{%- set content = m.content %}
{%- if m.role != 'assistant' %}{{ '<|im_start|>' + m.role + '\\n' + content + '<|im_end|>\\n' }}
{%- else %}
{%- set thought = '' %}
{%- if m.reasoning_content is string %}{% set thought = m.reasoning_content %}
{%- elif '</think>' in content %}
{%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
{%- set content = content.split('</think>')[-1].lstrip('\\n') %}{% endif %}
{%- if loop.index0 > ns.last and (loop.last or thought) %}
{{- '<|im_start|>assistant\\n<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
{%- else %}{{ '<|im_start|>assistant\\n' + content }}{% endif %}{{ '<|im_end|>\\n' }}
{%- endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}
{%- endif %}"""

DEEPSEEK_R1 = """\
{%- for m in messages %}{% if m.role == 'user' %}{{ '<|User|>' + m.content }}{% endif %}
{%- if m.role == 'assistant' %}{% set content = m.content %}
{%- if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}
{{- '<|Assistant|>' + content + '<|end|>' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|Assistant|><think>\\n' }}{% endif %}"""
"""It opens the thought in the prompt, and leaves thoughts out of earlier answers."""

SMOLLM3 = """\
{%- set mode = '/think' %}
{%- if messages[0].role == 'system' and '/no_think' in messages[0].content %}{% set mode = '/no_think' %}{% endif %}
{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content.replace('/no_think', '') + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}
{%- if mode == '/no_think' %}{{ '<think>\\n\\n</think>\\n' }}{% endif %}{% endif %}"""
"""It looks for a word in the system prompt."""

MISTRAL = """\
{%- for m in messages %}{% if m.role == 'user' %}{{ '[INST]' + m.content + '[/INST]' }}
{%- elif m.role == 'system' %}{{ '[SYSTEM_PROMPT]' + m.content + '[/SYSTEM_PROMPT]' }}
{%- else %}{% if m.reasoning_content %}{{ '[THINK]' + m.reasoning_content + '[/THINK]' }}{% endif %}{{ m.content }}
{%- endif %}{% endfor %}"""

GEMMA4 = """\
{%- if enable_thinking %}{{ '<|turn>system\\n<|think|>\\n<turn|>\\n' }}{% endif %}
{%- for m in messages %}{% set role = 'model' if m.role == 'assistant' else m.role %}
{{- '<|turn>' + role + '\\n' + m.content + '<turn|>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|turn>model\\n' }}
{%- if not enable_thinking %}{{ '<|channel>thought\\n<channel|>' }}{% endif %}{% endif %}"""

HARMONY = """\
{{- '<|start|>system<|message|>Reasoning: ' + reasoning_effort + '<|end|>' }}
{%- for m in messages %}
{%- if m.role == 'assistant' %}
{%- if loop.last and not add_generation_prompt and m.thinking %}
{{- '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}{% endif %}
{{- '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|end|>' }}
{%- else %}{{ '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}"""

SEED_OSS = """\
{%- if thinking_budget is not defined %}{% set thinking_budget = -1 %}{% endif %}
{%- for m in messages %}{{ '<seed:bos>' + m.role + '\\n' }}
{%- if m.reasoning_content %}{{ '<seed:think>' + m.reasoning_content + '</seed:think>\\n' }}{% endif %}
{{- m.content + '<seed:eos>' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<seed:bos>assistant\\n' }}
{%- if thinking_budget == 0 %}{{ '<seed:think>\\nThe budget is 0.\\n</seed:think>' }}{% endif %}{% endif %}"""

SOLAR = """\
{%- for m in messages %}{{ '<|begin|>' + m.role }}
{%- if m.reasoning %}{{ '<|think|>' + m.reasoning + '<|end|><|begin|>' + m.role }}{% endif %}
{{- '<|content|>' + m.content + '<|end|>' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|begin|>assistant' }}{% endif %}"""
"""Its mark of a thought and its mark of text begin with the same letters."""

UNKNOWN_FAMILY = """\
{%- for m in messages %}{{ '<|' + m.role + '|>' }}
{%- if m.thinking %}{{ '<<ponder>>\\n' + m.thinking + '\\n<</ponder>>\\n' }}{% endif %}{{ m.content + '<|end|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>' }}{% if not thinking %}{{ '<<quiet>>' }}{% endif %}{% endif %}"""

PLAIN = "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}{% endfor %}<|assistant|>"
