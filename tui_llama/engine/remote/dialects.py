"""The dialects of OpenAI's protocol, as data: what each server calls things, and what it does not know.

A dialect is found by `probe.find_server_facts`, or named in the settings. `plain` sends only what OpenAI itself has.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tui_llama.chat import Thinking
from tui_llama.sampling.settings import SamplingSettings


class Dialect(msgspec.Struct, frozen=True):
    """How one kind of server speaks.

    Attributes:
        name: The name in the settings.
        title: The name for people.
        sampling: The server's names of those fields of `SamplingSettings` that it knows.
        biases_texts: It takes biases of texts, not of token ids alone, and false for tokens that are ruled out.
        thinking_names: The names under which it takes the thinking of earlier answers; empty: it takes none.
        thinking: The choices of thinking that it knows beside the default, and the fields that tell them.
        thinking_limit: Its name of the most tokens of a thought; empty: it knows none.
        continue_fields: The fields of a request that continues the last answer; empty: it cannot be done.
        continues_thinking: It continues an answer that was cut in its thinking, with this value of
            `continue_final_message`; empty: such an answer is sent with its thought in the text, behind the mark.
        why_not_continue: Why it cannot, as a sentence.
        has_json_object: It knows the answer format "json_object", for JSON without a schema.
        grammar_path: The names of the nested fields that hold a grammar; empty: it takes none.
        takes_template_values: It passes `chat_template_kwargs` on to the chat template.
        has_probabilities: It tells the log-probabilities of tokens.
        can_ignore_end: It knows `ignore_eos`.
        tells_progress: It knows `return_progress`.
        tells_images: It tells whether its model sees images. Of others one has to try.
        may_cut_prompt: It may leave out the front of a prompt that is too long, without a word.
    """

    name: str
    title: str
    sampling: Mapping[str, str]
    biases_texts: bool = False
    thinking_names: tuple[str, ...] = ()
    thinking: Mapping[Thinking, Mapping[str, Any]] = {}
    thinking_limit: str = ""
    continue_fields: Mapping[str, bool] = {}
    continues_thinking: str = ""
    why_not_continue: str = ""
    has_json_object: bool = True
    grammar_path: tuple[str, ...] = ()
    takes_template_values: bool = False
    has_probabilities: bool = True
    can_ignore_end: bool = False
    tells_progress: bool = False
    tells_images: bool = False
    may_cut_prompt: bool = False


_OPENAI_SAMPLING: Final = {
    name: name for name in ("seed", "temperature", "top_p", "frequency_penalty", "presence_penalty")
}
_MORE_SAMPLING: Final = {**_OPENAI_SAMPLING, "top_k": "top_k", "min_p": "min_p"}
_EFFORTS: Final[Mapping[Thinking, Mapping[str, Any]]] = {
    effort: {"reasoning_effort": str(effort)} for effort in (Thinking.LOW, Thinking.MEDIUM, Thinking.HIGH)
}
_TEMPLATE_CHOICES: Final[Mapping[Thinking, Mapping[str, Any]]] = {
    Thinking.OFF: {"chat_template_kwargs": {"enable_thinking": False}},
    Thinking.ON: {"chat_template_kwargs": {"enable_thinking": True}},
    **_EFFORTS,
}
_CONTINUES: Final = {"add_generation_prompt": False, "continue_final_message": True}

LLAMA_SERVER: Final = Dialect(
    name="llama-server",
    title="llama-server",
    sampling={name: name for name in SamplingSettings.__struct_fields__} | {"penalty_last_n": "repeat_last_n"},
    biases_texts=True,
    thinking_names=("reasoning_content",),
    continue_fields=_CONTINUES,
    continues_thinking="reasoning_content",
    thinking=_TEMPLATE_CHOICES,
    thinking_limit="reasoning_budget_tokens",
    grammar_path=("grammar",),
    takes_template_values=True,
    can_ignore_end=True,
    tells_progress=True,
    tells_images=True,
)
OWN_SERVER: Final = msgspec.structs.replace(LLAMA_SERVER, title="tui-llama")
"""The dialect of this program's own server: llama-server's, so that nobody has to name it in the settings."""
VLLM: Final = Dialect(
    name="vllm",
    title="vLLM",
    sampling={**_MORE_SAMPLING, "repeat_penalty": "repetition_penalty", "logit_bias": "logit_bias"},
    thinking_names=("reasoning", "reasoning_content"),
    thinking=_TEMPLATE_CHOICES,
    thinking_limit="thinking_token_budget",
    continue_fields=_CONTINUES,
    grammar_path=("structured_outputs", "grammar"),
    takes_template_values=True,
    can_ignore_end=True,
)
SGLANG: Final = Dialect(
    name="sglang",
    title="SGLang",
    sampling={**_MORE_SAMPLING, "repeat_penalty": "repetition_penalty", "logit_bias": "logit_bias"},
    thinking_names=("reasoning_content",),
    thinking=_TEMPLATE_CHOICES,
    # Without this flag SGLang makes a message of the user out of the answer, and says nothing.
    continue_fields={"continue_final_message": True},
    grammar_path=("ebnf",),
    takes_template_values=True,
    can_ignore_end=True,
)
OLLAMA: Final = Dialect(
    name="ollama",
    title="Ollama",
    sampling=_OPENAI_SAMPLING,
    thinking_names=("reasoning",),
    thinking={Thinking.OFF: {"reasoning_effort": "none"}, **_EFFORTS},
    why_not_continue="Ollama continues an answer with some models only, and does not tell with which.",
    tells_images=True,
    may_cut_prompt=True,
)
LM_STUDIO: Final = Dialect(
    name="lmstudio",
    title="LM Studio",
    sampling={
        **_OPENAI_SAMPLING,
        "top_k": "top_k",
        "repeat_penalty": "repeat_penalty",
        "logit_bias": "logit_bias",
    },
    thinking=_EFFORTS,
    why_not_continue="LM Studio does not say whether it continues an answer.",
    has_json_object=False,
    has_probabilities=False,
    tells_images=True,
    may_cut_prompt=True,
)
PLAIN: Final = Dialect(
    name="plain",
    title="This server",
    sampling={**_OPENAI_SAMPLING, "logit_bias": "logit_bias"},
    thinking=_EFFORTS,
    why_not_continue="OpenAI's protocol has no way to continue an answer.",
    may_cut_prompt=True,
)

DIALECTS: Final[Mapping[str, Dialect]] = {
    dialect.name: dialect for dialect in (LLAMA_SERVER, VLLM, SGLANG, OLLAMA, LM_STUDIO, PLAIN)
}
"""The dialects by name."""
