"""Short names of models, as the title bar and lists show them.

A model file says its name in `general.name`, which whoever converted it may have filled with anything: the name, the
label of a training run, a folder, a hash. Where that is no name, the file name tells more.
"""

import re
from pathlib import PurePath
from typing import Final

_TYPES: Final = r"i?q\d+(?:[-_](?:k|\d|nl|xs|xxs|s|m|l|xl)+)*|bf16|f16|fp16|f32|mxfp4|nvfp4|tq\d_\d"
_QUANTIZATION: Final = re.compile(rf"(?:^|[-_. ])(?:ud[-_])?(?:{_TYPES})(?:[-_.]moe)?$", re.IGNORECASE)
_PART: Final = re.compile(r"-\d{5}-of-\d{5}$")
_SUFFIXES: Final = re.compile(r"[-_. ](?:gguf|imatrix|imat|i1)$", re.IGNORECASE)
_NO_NAME: Final = re.compile(
    r"(?:sha256[-:])?[0-9a-f]{16,}|(?:ggml[-_. ])?models?(?:[-_. ]\w{1,4})?|ggml|gguf|workspace|output|hf|tmp|merged|"
    r"checkpoint|\.+|snapshots?|content|llama|unsloth",
    re.IGNORECASE,
)
_TRAINING_WORD: Final = re.compile(
    r"(?:ep|epoch|mix|lc|step|steps|ckpt|checkpoint|run|iter|lr|seed|rank|bs|exp)[-_.]?\d+\w{0,2}|lora|qlora|ckpt|checkpoint|"
    r"merged|snapshot|[0-9a-f]{12,}",
    re.IGNORECASE,
)
_LONGEST: Final = 48


def short_name(path: PurePath | str, general_name: str = "") -> str:
    """What to call a model, such as "SmolLM2 135M Instruct"; not safe to print.

    Args:
        path: Its file.
        general_name: What it says in `general.name`; empty for nothing.
    """
    path = PurePath(path)
    named = " ".join(general_name.replace("_", " ").split())
    if " " not in named and "--" not in named:
        named = named.replace("-", " ")
    if not _is_no_name(named):
        return named
    return _from_file(path) or path.stem[:_LONGEST]


def _from_file(path: PurePath) -> str:
    """The name that the file has; empty where that is no name."""
    stem = _PART.sub("", path.stem if path.suffix.lower() == ".gguf" else path.name)
    while (cut := _SUFFIXES.sub("", _QUANTIZATION.sub("", stem))) != stem and cut:
        stem = cut
    words = re.split(r"[-_ ]+", stem)
    name = " ".join(word for word in words if word)
    return "" if _NO_NAME.fullmatch(stem) or not re.search(r"[^\W\d_]{2}", name) else name


def _is_no_name(name: str) -> bool:
    """Whether what a file says in `general.name` is empty, a label, a path or a hash."""
    if not name or len(name) > _LONGEST or re.search(r"[/\\]|--", name) or _NO_NAME.fullmatch(name):
        return True
    return any(_TRAINING_WORD.fullmatch(word) for word in re.split(r"[-\s]+", name))
