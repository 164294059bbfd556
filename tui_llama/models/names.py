"""Short names of models, as the title bar and lists show them.

A model file says its name in `general.name`, which its converter may have filled with anything: the name, the
label of a training run, a folder, a hash. Where that is no name, the file name tells more.
"""

import re
from pathlib import PurePath
from typing import Final

_TYPES: Final = r"i?q\d+(?:[-_](?:k|\d|nl|xs|xxs|s|m|l|xl)+)*|bf16|f16|fp16|f32|fp32|mxfp4|nvfp4|tq\d_\d"
_QUANTIZATION: Final = re.compile(rf"(?:^|[-_. ])(?:ud[-_])?(?:{_TYPES})(?:[-_.]moe)?$", re.IGNORECASE)
_PART_OR_COPY: Final = re.compile(r"(?:-\d{5}-of-\d{5}| ?\(\d+\))$")
_SUFFIXES: Final = re.compile(r"[-_. ](?:gguf|imatrix|imat|i1)$", re.IGNORECASE)
_OWNER_AND_REPOSITORY: Final = re.compile(r"^.*-gguf_(?=.)", re.IGNORECASE)  # llama.cpp's cache has them in front
_OWNER: Final = re.compile(
    r"^(?:allenai|arcee-ai|baidu|bartowski|deepseek-ai|google|huggingfaceh4|huggingfacetb|ibm-granite|liquidai|"
    r"lmstudio-community|meta-llama|microsoft|mistralai|moonshotai|nousresearch|nvidia|openai|openchat|qwen|teknium|"
    r"tencent|thebloke|thedrummer|thudm|tiiuae|tinyllama|unsloth|zai-org)_(?=[a-z])",
    re.IGNORECASE,
)
_DECIMAL: Final = re.compile(r"(?<=\d)_(?=\d+b(?![a-z0-9]))", re.IGNORECASE)  # "1_6b", where a dot was not allowed
_NO_NAME: Final = re.compile(
    r"(?:sha256[-:])?[0-9a-f]{16,}|(?:ggml[-_. ])?models?(?:[-_. ]\w{1,4})?|ggml|gguf|workspace|output|hf|tmp\w*|"
    r"merged|checkpoint|\.+|snapshots?|content|llama|unsloth(?:[-_. ]model)?",
    re.IGNORECASE,
)
_TRAINING_WORD: Final = re.compile(
    r"(?:ep|epoch|mix|lc|step|steps|ckpt|checkpoint|run|iter|lr|seed|rank|bs|exp)[-_.]?\d+\w{0,2}|lora|qlora|ckpt|checkpoint|"
    r"merged|snapshot|[0-9a-f]{12,}",
    re.IGNORECASE,
)
_LONGEST: Final = 48


def short_name(path: PurePath | str, general_name: str = "") -> str:
    """Returns what to call a model, such as "SmolLM2 135M Instruct"; not safe to print.

    Args:
        path: Its file.
        general_name: The text of `general.name`; empty if the file has none.
    """
    path = PurePath(str(path).encode("utf-8", "replace").decode())  # it may hold bytes that are no text
    said = _in_words(general_name) if _may_be_name(general_name) else ""
    if said and not _is_label(said):
        return said
    # A label is more than nothing: the file may be called by a hash, as Ollama's are.
    return _from_file(path) or said or path.stem[:_LONGEST]


def _from_file(path: PurePath) -> str:
    """Returns the name that the file has; empty where that is no name."""
    stem = path.stem if path.suffix.lower() == ".gguf" else path.name
    name = _in_words(_OWNER_AND_REPOSITORY.sub("", stem))
    return name if re.search(r"[^\W\d_]{2}", name) else ""


def _in_words(name: str) -> str:
    """Returns a name without the words that say how the file was made and by whom; empty where no name is left."""
    name = _OWNER.sub("", _PART_OR_COPY.sub("", name.strip()))
    while (cut := _SUFFIXES.sub("", _QUANTIZATION.sub("", name))) != name and cut:
        name = cut
    if _NO_NAME.fullmatch(name):
        return ""
    name = _DECIMAL.sub(".", name)
    return " ".join(re.split(r"[_\s]+" if re.search(r"\s", name) else r"[-_]+", name)).strip()


def _may_be_name(name: str) -> bool:
    """Tells whether a text is as short as names are, and no path."""
    return len(name) <= _LONGEST and not re.search(r"[/\\]|--", name)


def _is_label(name: str) -> bool:
    """Tells whether a word of it is of a training run, or a hash."""
    return any(_TRAINING_WORD.fullmatch(word) for word in re.split(r"[-\s]+", name))
