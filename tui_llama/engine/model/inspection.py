"""Says everything about a model file that its header tells, whether the engine can run the model or not.

What is not used is found by trying: the file is prepared as for a load, and what nobody has asked for is not used.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from tui_llama.engine.descriptions import ModelFacts
from tui_llama.engine.gguf.compiled_strings import compiled_find_strings
from tui_llama.engine.gguf.file import (
    TENSOR_TYPES,
    GgufFile,
    MetadataValue,
    SkippedValue,
    StringArray,
    TensorInfo,
    open_gguf,
)
from tui_llama.engine.layouts.weight_tile import FORMATS
from tui_llama.engine.model.asked_for import AskedFor
from tui_llama.engine.model.facts import model_facts
from tui_llama.engine.model.preparation import prepare_model
from tui_llama.engine.requests import WHEREVER_THEY_FIT
from tui_llama.engine.templates.model_template import template_from_gguf
from tui_llama.engine.templates.template_text import stored_template
from tui_llama.engine.tokenizer.tokenizer import Tokenizer, tokenizer_from_gguf
from tui_llama.errors import ModelFileError

_LONGEST: Final = 100
"""Characters of a text that are shown."""

_SHOWN_VALUES: Final = 6
_TOKENS_KEY: Final = "tokenizer.ggml.tokens"
_TOKEN_PREFIX: Final = "tokenizer.ggml."
_TOKEN_SUFFIX: Final = "_token_id"
_ALIGNMENT_KEY: Final = "general.alignment"
_SPLIT_PREFIX: Final = "split."


class WeightType(msgspec.Struct, frozen=True):
    """The tensors of one type.

    Attributes:
        name: Such as "Q4_K".
        tensor_count: How many there are.
        parameter_count: Their elements.
        size_bytes: Their bytes in the file.
        has_kernels: Whether kernels read it; a model whose matrices have another type is refused.
    """

    name: str
    tensor_count: int
    parameter_count: int
    size_bytes: int
    has_kernels: bool


class SpecialToken(msgspec.Struct, frozen=True):
    """A token with a purpose.

    Attributes:
        purpose: As the file's key says it, such as "bos"; empty for one that only its text tells.
        token_id: Its number.
        text: Its text; empty if the vocabulary does not have it.
        ends_answer: Whether an answer ends with it.
    """

    purpose: str
    token_id: int
    text: str
    ends_answer: bool


class Vocabulary(msgspec.Struct, frozen=True):
    """What the file says of its vocabulary.

    Attributes:
        kind: `tokenizer.ggml.model`.
        splitting: `tokenizer.ggml.pre`; empty where there is none.
        token_count: The number of tokens.
        adds_bos: Whether the token "bos" is put in front of a prompt.
        adds_eos: Whether the token "eos" is put behind it.
        refusal: Why it cannot be used; empty if it can.
    """

    kind: str
    splitting: str
    token_count: int
    adds_bos: bool = False
    adds_eos: bool = False
    refusal: str = ""


class Template(msgspec.Struct, frozen=True):
    """The chat template.

    Attributes:
        source: Where the one that is used comes from, in words.
        character_count: Of the one in the file; 0 where it has none.
        thinking: The choices of thinking that it knows.
    """

    source: str
    character_count: int
    thinking: tuple[str, ...] = ()


class Inspection(msgspec.Struct, frozen=True):
    """A model file. Texts come from the file and are not safe to print as they are.

    Attributes:
        facts: What lists show of it, with the reason if the engine cannot run it.
        version: Of the GGUF format.
        part_count: Files that it is split into.
        sizes: The keys of its architecture, without its name, and their values in words.
        types: Its weights by type, the most bytes first.
        vocabulary: Its vocabulary.
        special_tokens: Its tokens with a purpose.
        template: Its chat template.
        unused_tensors: Tensors that are not read; empty where the engine cannot run the model.
        unused_keys: Metadata keys that nothing depends on; empty where the engine cannot run the model.
        notices: What a load would tell the user.
        plan: The plan, a line for each operation; empty where it was not asked for or there is none.
    """

    facts: ModelFacts
    version: int
    part_count: int
    sizes: Mapping[str, str]
    types: tuple[WeightType, ...]
    vocabulary: Vocabulary
    special_tokens: tuple[SpecialToken, ...]
    template: Template
    unused_tensors: tuple[str, ...] = ()
    unused_keys: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    plan: tuple[str, ...] = ()


def inspect_model(
    path: str | Path, *, context_size: int = 0, experts: str = WHEREVER_THEY_FIT, with_plan: bool = False
) -> Inspection:
    """Looks into a model file; no weights are read.

    Args:
        path: The file, or any part of a split model.
        context_size: Tokens of context that a plan is made for; 0 for what a load would take.
        experts: Where the plan has the weights of experts, one of `requests.EXPERT_PLACES`.
        with_plan: Whether to return the plan.

    Raises:
        ModelFileError: it is not a sound GGUF file. That the engine cannot run it is no error.
    """
    with open_gguf(path, compiled_find_strings()) as file:
        return _inspect(file, context_size, experts, with_plan)


def _inspect(file: GgufFile, context_size: int, experts: str, with_plan: bool) -> Inspection:
    keys = file.metadata = AskedFor(file.metadata)
    tensors = file.tensors = AskedFor(file.tensors)
    facts = model_facts(file)
    prepared = None if facts.refusal else prepare_model(file, context_size, experts=experts)
    tokenizer, refusal = _tokenizer(file)
    template, notices = _template(file, facts, tokenizer)
    unused_keys, unused_tensors = keys.unasked(), tensors.unasked()
    inspection = Inspection(
        facts=facts,
        version=file.version,
        part_count=file.part_count,
        sizes=dict(_sizes(file)),
        types=tuple(_types(file.tensors.values())),
        vocabulary=_vocabulary(file, tokenizer, refusal),
        special_tokens=tuple(_special_tokens(file, tokenizer)),
        template=template,
    )
    if prepared is None:
        return inspection
    notices = (*prepared.notices, *(tokenizer.notices if tokenizer is not None else ()), *notices)
    return msgspec.structs.replace(
        inspection,
        unused_tensors=unused_tensors,
        unused_keys=tuple(key for key in unused_keys if not _is_of_format(key)),
        notices=notices,
        plan=tuple(str(prepared.plan).splitlines()) if with_plan else (),
    )


def _is_of_format(key: str) -> bool:
    """Tells whether the reader of the format has taken a key, before anybody noted it."""
    return key == _ALIGNMENT_KEY or key.startswith(_SPLIT_PREFIX)


def _tokenizer(file: GgufFile) -> tuple[Tokenizer | None, str]:
    try:
        return tokenizer_from_gguf(file), ""
    except ModelFileError as error:
        return None, str(error).removeprefix(f"{file.path.name}: ")


def _template(file: GgufFile, facts: ModelFacts, tokenizer: Tokenizer | None) -> tuple[Template, tuple[str, ...]]:
    text, _ = stored_template(file)
    if tokenizer is None:
        return Template(facts.template_source, len(text)), ()
    template = template_from_gguf(file, tokenizer)
    source = facts.template_source if template.source == "model file" else template.source
    return Template(source, len(text), tuple(map(str, template.thinking.choices))), template.notices


def _sizes(file: GgufFile) -> Iterator[tuple[str, str]]:
    architecture = file.metadata.get("general.architecture")
    prefix = f"{architecture}." if isinstance(architecture, str) else "\0"
    for key, value in file.metadata.items():
        if key.startswith(prefix):
            yield key.removeprefix(prefix), value_words(value)


def value_words(value: MetadataValue) -> str:
    """Returns a value of a file in few words; not safe to print."""
    if isinstance(value, SkippedValue):
        return f"{value.size_bytes} bytes"
    if not isinstance(value, StringArray | np.ndarray):
        return f"{value:.7g}" if isinstance(value, float) else str(value)[:_LONGEST]
    runs = _runs(value if isinstance(value, StringArray) else value.tolist())
    shown = [f"{count} × {each}" if count > 1 else str(each)[:_LONGEST] for each, count in runs[:_SHOWN_VALUES]]
    more = f" … ({len(value)} values)" if len(runs) > _SHOWN_VALUES else ""
    return ", ".join(shown) + more if runs else "no values"


def _runs(values: Iterable[object]) -> list[tuple[object, int]]:
    """Returns the values of an array, each with the number of times that it stands there in a row."""
    runs: list[tuple[object, int]] = []
    for value in values:
        if runs and runs[-1][0] == value:
            runs[-1] = value, runs[-1][1] + 1
        elif len(runs) > _SHOWN_VALUES:
            break
        else:
            runs.append((value, 1))
    return runs


def _types(tensors: Iterable[TensorInfo]) -> list[WeightType]:
    by_type: dict[int, list[TensorInfo]] = {}
    for tensor in tensors:
        by_type.setdefault(tensor.type_id, []).append(tensor)
    types = [
        WeightType(
            name=TENSOR_TYPES[type_id].name,
            tensor_count=len(same),
            parameter_count=sum(math.prod(tensor.shape) for tensor in same),
            size_bytes=sum(tensor.size_bytes for tensor in same),
            has_kernels=type_id in FORMATS,
        )
        for type_id, same in by_type.items()
    ]
    return sorted(types, key=lambda each: (-each.size_bytes, each.name))


def _vocabulary(file: GgufFile, tokenizer: Tokenizer | None, refusal: str) -> Vocabulary:
    tokens = file.metadata.get(_TOKENS_KEY)
    kind, splitting = (file.metadata.get(f"{_TOKEN_PREFIX}{name}") for name in ("model", "pre"))
    return Vocabulary(
        kind=kind[:_LONGEST] if isinstance(kind, str) else "",
        splitting=splitting[:_LONGEST] if isinstance(splitting, str) else "",
        token_count=len(tokens) if isinstance(tokens, StringArray) else 0,
        adds_bos=tokenizer is not None and tokenizer.add_bos,
        adds_eos=tokenizer is not None and tokenizer.add_eos,
        refusal=refusal,
    )


def _special_tokens(file: GgufFile, tokenizer: Tokenizer | None) -> Iterator[SpecialToken]:
    """Yields the tokens that keys name, and those that end an answer without a key."""
    tokens = file.metadata.get(_TOKENS_KEY)
    texts = tokens if isinstance(tokens, StringArray) else ()
    ends = tokenizer.end_of_generation if tokenizer is not None else frozenset()
    named: set[int] = set()
    for key, value in file.metadata.items():
        if key.startswith(_TOKEN_PREFIX) and key.endswith(_TOKEN_SUFFIX) and type(value) is int:
            named.add(value)
            yield _special_token(key.removeprefix(_TOKEN_PREFIX).removesuffix(_TOKEN_SUFFIX), value, texts, ends)
    for token_id in sorted(ends - named):
        yield _special_token("", token_id, texts, ends)


def _special_token(purpose: str, token_id: int, texts: Sequence[str], ends: Collection[int]) -> SpecialToken:
    text = texts[token_id][:_LONGEST] if 0 <= token_id < len(texts) else ""
    return SpecialToken(purpose, token_id, text, ends_answer=token_id in ends)
