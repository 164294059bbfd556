"""What files of the families of models carry: special tokens, those that end an answer, and a chat template.

Vocabularies are small: the bytes, and the special tokens of a family. Templates are the known ones of
`engine/templates/known.py`, since a family's own is not ours to give away. A family without one has a template that is
not known by name, or none at all.
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from tests.engine.tokenizer.vocabulary_file import (
    BYTE_TOKENS,
    CONTROL,
    NORMAL,
    Value,
    pair_keys,
    score_keys,
)


class Family(NamedTuple):
    """What files of a family carry.

    Attributes:
        architectures: Names in GGUF of the architectures that the family's models have.
        rule: `tokenizer.ggml.pre` of a byte-pair vocabulary.
        special: Control tokens.
        ends: Those of them that end an answer.
        keys: Keys of special tokens, by the token's text.
        begins: The token that begins a sequence, or "".
        templates: Names of the known templates that its models were trained with.
        kind: How text is split.
    """

    architectures: tuple[str, ...]
    rule: str
    special: tuple[str, ...]
    ends: frozenset[str]
    keys: Mapping[str, str] = {}
    begins: str = ""
    templates: tuple[str, ...] = ()
    kind: Literal["pairs", "scores", "gemma4"] = "pairs"


def vocabulary_of(family: Family) -> dict[str, Value]:
    """Returns the keys of a small vocabulary of a family, below `tokenizer.ggml.`."""
    if family.kind == "scores":
        keys = score_keys({"▁": 0.0, "▁a": 0.0, **dict.fromkeys(family.special, 0.0)}, add_space_prefix=False)
        # Some files say that an end is a normal token, and only its text tells that it is not.
        known = family.ends - set(family.keys.values())
        kinds = [NORMAL if text in known else CONTROL for text in family.special]
        keys["token_type"] = [*keys["token_type"][: -len(kinds)], *kinds]  # type: ignore[index]
    elif family.kind == "gemma4":
        keys = _gemma4_keys(family.special)
    else:
        keys = pair_keys(["a b"], dict.fromkeys(family.special, CONTROL), pre=family.rule)
    tokens = list(keys["tokens"])  # type: ignore[arg-type]
    ids: dict[str, Value] = {f"{name}_token_id": tokens.index(text) for name, text in family.keys.items()}
    return keys | ids


def _gemma4_keys(special: tuple[str, ...]) -> dict[str, Value]:
    """Makes a vocabulary with escaped spaces, merges in text, tokens of bytes, and the marks of turns and channels."""
    merges = ["h i", "▁ hi", "▁ ▁", "\n \n"]
    results = [merge[: merge.index(" ", 1)] + merge[merge.index(" ", 1) + 1 :] for merge in merges]
    letters = ["h", "i", "▁", "\n"]
    tokens = [*special, *letters, *results, *BYTE_TOKENS]
    kinds = [*[CONTROL] * len(special), *[NORMAL] * (len(letters) + len(results)), *[6] * 256]
    return {"model": "gemma4", "tokens": tokens, "token_type": kinds, "merges": merges, "add_bos_token": False}


_GLM = ("[gMASK]", "<sop>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")
_GLM_KEYS = {"eos": "<|endoftext|>", "eot": "<|user|>", "eom": "<|observation|>"}
_LLAMA_3 = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
FAMILIES: Final[Mapping[str, Family]] = {
    "qwen": Family(
        ("qwen", "qwen2", "qwen2moe", "qwen2vl", "qwen3", "qwen3moe", "qwen3vl", "qwen3vlmoe"),
        "qwen2", ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), frozenset({"<|endoftext|>", "<|im_end|>"}),
        {"eos": "<|im_end|>"}, templates=("chatml",),
    ),
    "gpt-oss": Family(
        ("gpt-oss",), "gpt-4o",
        ("<|startoftext|>", "<|return|>", "<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|call|>"),
        frozenset({"<|return|>", "<|call|>"}), {"eos": "<|return|>", "bos": "<|startoftext|>"}, templates=("gpt-oss",),
    ),
    "gemma 3": Family(
        ("gemma", "gemma2", "gemma3"), "", ("<eos>", "<start_of_turn>", "<end_of_turn>"),
        frozenset({"<eos>", "<end_of_turn>", "</s>"}), {"eos": "<eos>"}, "<s>", ("gemma",), "scores",
    ),
    "gemma 4": Family(
        ("gemma4",), "",
        ("<bos>", "<eos>", "</s>", "<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|tool_response>"),
        frozenset({"<eos>", "<turn|>", "<|tool_response>"}), {"bos": "<bos>", "eos": "<eos>"}, "<bos>", ("gemma4",),
        "gemma4",
    ),
    "phi 2": Family(
        ("phi2",), "phi-2", ("<|endoftext|>",), frozenset({"<|endoftext|>"}), {"eos": "<|endoftext|>"}
    ),
    "phi 3": Family(
        ("phi3", "phimoe"), "", ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        frozenset({"<|endoftext|>", "<|end|>", "</s>"}), {"eos": "<|endoftext|>"}, "<s>", ("phi3",), "scores",
    ),
    "phi 4": Family(
        ("phi3",), "dbrx", ("<|endoftext|>", "<|im_start|>", "<|im_sep|>", "<|im_end|>"),
        frozenset({"<|endoftext|>", "<|im_end|>"}), {"eos": "<|im_end|>"}, templates=("phi4",),
    ),
    "dbrx": Family(
        ("dbrx",), "dbrx", ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        frozenset({"<|endoftext|>", "<|im_end|>"}), {"eos": "<|endoftext|>"}, templates=("chatml",),
    ),
    "phi 4 mini": Family(
        ("phi3",), "gpt-4o", ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        frozenset({"<|endoftext|>", "<|end|>"}), {"eos": "<|endoftext|>"}, templates=("phi3",),
    ),
    "mistral 7b": Family(
        ("llama",), "", ("[INST]", "[/INST]"), frozenset({"</s>"}), {}, "<s>",
        ("llama2-sys", "mistral-v1", "mistral-v3"), "scores",
    ),
    "ministral 3": Family(
        ("llama", "mistral3", "mistral4"), "tekken",
        ("<s>", "</s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"), frozenset({"</s>"}),
        {"bos": "<s>", "eos": "</s>"}, "<s>", ("mistral-v3-tekken", "mistral-v7"),
    ),
    "llama 3": Family(
        ("llama",), "llama-bpe", (*_LLAMA_3, "<|eom_id|>"),
        frozenset({"<|end_of_text|>", "<|eot_id|>", "<|eom_id|>"}),
        {"bos": "<|begin_of_text|>", "eos": "<|eot_id|>"}, "<|begin_of_text|>", ("llama3",),
    ),
    "llama 4": Family(
        ("llama4",), "llama4", ("<|begin_of_text|>", "<|header_start|>", "<|header_end|>", "<|eot|>", "<|eom|>"),
        frozenset({"<|eot|>"}), {"bos": "<|begin_of_text|>", "eos": "<|eot|>"}, templates=("llama4",),
    ),
    "smollm 3": Family(
        ("smollm3",), "smollm", ("<|im_start|>", "<|im_end|>"), frozenset({"<|im_end|>"}), {"eos": "<|im_end|>"},
        templates=("chatml",),
    ),
    "granite": Family(
        ("granite", "granitemoe", "granite_swa"), "refact",
        ("<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>"), frozenset({"<|end_of_text|>"}),
        {"eos": "<|end_of_text|>"}, templates=("granite",),
    ),
    "arcee": Family(
        ("arcee",), "llama-bpe", _LLAMA_3, frozenset({"<|end_of_text|>", "<|eot_id|>"}),
        {"bos": "<|begin_of_text|>", "eos": "<|eot_id|>"}, "<|begin_of_text|>",
    ),
    "olmo 2": Family(
        ("olmo2", "olmoe"), "dbrx", ("<|endoftext|>",), frozenset({"<|endoftext|>"}), {"eos": "<|endoftext|>"}
    ),
    "glm 4": Family(
        ("chatglm", "glm4"), "chatglm-bpe", _GLM, frozenset(_GLM_KEYS.values()), _GLM_KEYS, templates=("chatglm4",)
    ),
    "glm 4.5": Family(
        ("glm4moe", "deepseek2"), "glm4", _GLM, frozenset(_GLM_KEYS.values()), _GLM_KEYS, templates=("chatglm4",)
    ),
    "ernie 4.5": Family(
        ("ernie4_5", "ernie4_5-moe"), "", ("<|end_of_sentence|>",), frozenset({"</s>", "<|end_of_sentence|>"}),
        {"eot": "<|end_of_sentence|>"}, "<s>", kind="scores",
    ),
    "hunyuan": Family(
        ("hunyuan-moe",), "hunyuan", ("<|eos|>", "<|extra_0|>"), frozenset({"<|eos|>"}), {"eos": "<|eos|>"}
    ),
    "hunyuan dense": Family(
        ("hunyuan-dense",), "hunyuan-dense", ("<eod>", "<|endofsentence|>"), frozenset({"<|endofsentence|>"}),
        {"eos": "<|endofsentence|>"},
    ),
    "command-r": Family(
        ("command-r", "cohere2"), "command-r",
        ("<BOS_TOKEN>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|SYSTEM_TOKEN|>", "<|USER_TOKEN|>",
         "<|CHATBOT_TOKEN|>"),
        frozenset({"<|END_OF_TURN_TOKEN|>"}), {"bos": "<BOS_TOKEN>", "eos": "<|END_OF_TURN_TOKEN|>"},
        templates=("command-r",),
    ),
    "exaone 4": Family(
        ("exaone", "exaone4", "exaone-moe"), "exaone4", ("[BOS]", "[|endofturn|]"), frozenset({"[|endofturn|]"}),
        {"eos": "[|endofturn|]"},
    ),
    "seed-oss": Family(
        ("seed_oss",), "seed-coder", ("<seed:bos>", "<seed:eos>"), frozenset({"<seed:eos>"}), {"eos": "<seed:eos>"},
        templates=("seed_oss",),
    ),
    "starcoder 2": Family(
        ("starcoder", "starcoder2"), "starcoder", ("<|endoftext|>",), frozenset({"<|endoftext|>"}),
        {"eos": "<|endoftext|>"},
    ),
    "stable lm 2": Family(
        ("stablelm",), "stablelm2", ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        frozenset({"<|endoftext|>", "<|im_end|>"}), {"eos": "<|endoftext|>"}, templates=("zephyr", "chatml"),
    ),
    "internlm 2": Family(
        ("internlm2", "minicpm", "minicpm3"), "", ("<|im_start|>", "<|im_end|>"), frozenset({"</s>", "<|im_end|>"}),
        {}, "<s>", ("chatml",), "scores",
    ),
    "ling 2": Family(
        ("bailingmoe", "bailingmoe2"), "bailingmoe2", ("<|startoftext|>", "<|role_end|>"),
        frozenset({"<|role_end|>"}), {"eos": "<|role_end|>"},
    ),
    "deepseek 2": Family(
        ("deepseek", "deepseek2"), "deepseek-llm", ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
        frozenset({"<｜end▁of▁sentence｜>"}), {"bos": "<｜begin▁of▁sentence｜>", "eos": "<｜end▁of▁sentence｜>"},
        templates=("deepseek2",),
    ),
    "deepseek 3": Family(
        ("deepseek2",), "deepseek-v3",
        ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"),
        frozenset({"<｜end▁of▁sentence｜>"}), {"bos": "<｜begin▁of▁sentence｜>", "eos": "<｜end▁of▁sentence｜>"},
        templates=("deepseek3",),
    ),
}  # fmt: skip


def families_of(architecture: str) -> dict[str, Family]:
    """Returns the families whose models have an architecture, by their names."""
    return {name: family for name, family in FAMILIES.items() if architecture in family.architectures}
