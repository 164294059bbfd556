"""The models that can be fetched by name: what each of them is, takes and needs.

The facts stand in `catalogue.toml` beside this module. Here they are read and checked, entries are found by the names
that people type, and files that are already on this machine are recognised as one of them. Nothing here knows how a
model is fetched (`pull`) or whether it fits (`fitness`).
"""

import difflib
import functools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import msgspec

from tui_llama.errors import CallerError

STARTER: Final = "starter"
"""The name of the model with which the program is tried first; it comes in a wheel (see `starter`)."""

_FILE: Final = Path(__file__).with_name("catalogue.toml")
_MOST_SUGGESTIONS: Final = 5
_LONGEST_TYPED: Final = 100  # characters that are looked at
_LEAST_LIKENESS: Final = 0.6  # of 1, as difflib counts it

_BYTES_PER_NUMBER: Final = 2  # keys and values are kept as float16

# Bits for each weight of the matrix of token embeddings. Where its rows cannot be cut into blocks of 256 weights,
# llama.cpp takes a type with blocks of 32 instead.
_EMBEDDING_BITS: Final = {"Q4_0": 4.5, "Q4_1": 5.0, "Q4_K_M": 4.5, "Q5_K_M": 5.5, "Q6_K": 6.5625, "Q8_0": 8.5}
_EMBEDDING_BITS_IN_SMALL_BLOCKS: Final = {"Q4_K_M": 5.5, "Q5_K_M": 6.0, "Q6_K": 8.5}
_LARGE_BLOCK: Final = 256

_Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]+([.:-][a-z0-9]+)*$", max_length=60)]
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
_Count = Annotated[int, msgspec.Meta(gt=0)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]

Words: TypeAlias = tuple[str, ...]
"""A name in pieces: lower case, numbers apart, without what separates them; "Qwen3-4B" is qwen, 3, 4b."""


class CatalogueError(CallerError):
    """The catalogue that comes with the program is wrong."""


class RecommendedSampling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sampling settings that a model's makers recommend; None where they say nothing.

    Names and meanings are those of `tui_llama.chat.SamplingSettings`.
    """

    temperature: Annotated[float, msgspec.Meta(ge=0)] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=0)] | None = None
    top_p: _Share | None = None
    min_p: _Share | None = None
    repeat_penalty: Annotated[float, msgspec.Meta(gt=0)] | None = None

    def given(self) -> dict[str, int | float]:
        """Returns what is recommended, by the names of `SamplingSettings`."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}


class CatalogueEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model in one file.

    Attributes:
        name: What one types to get it, lower case, such as "qwen3-4b".
        aliases: What else one may type, such as "qwen3:4b".
        title: Its name on the screen, such as "Qwen3 4B".
        architecture: As GGUF files name it.
        parameters: Numbers in the model; a matrix that serves at both ends counts once.
        repository: OWNER/REPOSITORY on Hugging Face; empty where the file comes from elsewhere.
        file: Name of the file there.
        quantization: Of the file, such as "Q4_K_M".
        size_bytes: Of the file.
        size_is_estimate: Whether the size was computed, within 2 percent; else it is as published.
        context_size: Tokens of context that the model was trained for.
        licence: Short name, as SPDX has it where it has one.
        licence_on_card: The licence as the model's card on Hugging Face names it.
        good_for: What one takes it for, in a few words.
        thinks: Whether it writes down its thinking before it answers, unless told not to.
        layers: How many there are.
        kv_heads: Heads that keys and values have, in each layer.
        head_dim: Elements of a head's key or value.
        vocab_size: How many tokens it knows.
        embedding: Elements of the vector that stands for a token.
        tied_embeddings: Whether the file has one matrix for token embeddings and output.
        sampling: The settings that its makers recommend.
        labels: Texts of `general.name` in its files that are no names, such as the label of a training run.
    """

    name: _Name
    aliases: tuple[_Name, ...] = ()
    title: _Text
    architecture: _Name
    parameters: _Count
    repository: Annotated[str, msgspec.Meta(pattern=r"^([\w.-]+/[\w.-]+)?$")]
    file: Annotated[str, msgspec.Meta(pattern=r"^[\w.-]+\.gguf$")]
    quantization: str
    size_bytes: _Count
    size_is_estimate: bool = False
    context_size: _Count
    licence: _Text
    licence_on_card: _Text
    good_for: _Text
    thinks: bool
    layers: _Count
    kv_heads: _Count
    head_dim: _Count
    vocab_size: _Count
    embedding: _Count
    tied_embeddings: bool
    sampling: RecommendedSampling = RecommendedSampling()
    labels: tuple[_Text, ...] = ()

    def __post_init__(self) -> None:
        if self.quantization not in _EMBEDDING_BITS:
            raise ValueError(f"{self.name}: unknown quantization {self.quantization!r}")
        if self.bytes_read_per_token <= 0:
            raise ValueError(f"{self.name}: the file is smaller than its token embeddings")

    @property
    def weight_bytes(self) -> int:
        """The bytes of the weights in memory: about the size of the file."""
        return self.size_bytes

    @property
    def expert_bytes(self) -> int:
        """The bytes of experts' weights that may stay in the file: none, so that only what runs well is offered."""
        return 0

    @property
    def layer_count(self) -> int:
        """The layers, by the name that a model file's facts have for them."""
        return self.layers

    @property
    def trained_context_size(self) -> int:
        """The context, by the name that a model file's facts have for it."""
        return self.context_size

    @property
    def key_value_bytes_per_token(self) -> int:
        """Bytes of memory that the keys and values of one token take, as float16."""
        keys_and_values = 2 * self.layers * self.kv_heads * self.head_dim
        return _BYTES_PER_NUMBER * keys_and_values

    @property
    def window_bytes_per_token(self) -> int:
        """Of these, the bytes in layers with a window: the catalogue has no models with such layers."""
        return 0

    @property
    def window_positions(self) -> int:
        """Tokens that such layers keep."""
        return 0

    @property
    def bytes_read_per_token(self) -> int:
        """Bytes of the file that are read to write one token, the keys and values of the context aside.

        Of token embeddings that have a matrix of their own, a single row is read.
        """
        return self.size_bytes if self.tied_embeddings else self.size_bytes - self._embedding_bytes

    @property
    def _embedding_bytes(self) -> int:
        bits = _EMBEDDING_BITS[self.quantization]
        if self.embedding % _LARGE_BLOCK:
            bits = _EMBEDDING_BITS_IN_SMALL_BLOCKS.get(self.quantization, bits)
        return int(self.vocab_size * self.embedding * bits / 8)


class _Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    models: tuple[CatalogueEntry, ...]


@functools.cache
def load_catalogue() -> tuple[CatalogueEntry, ...]:
    """Reads the catalogue that comes with the program: the starter, then the most useful for its size first.

    Raises:
        CatalogueError: it is wrong.
    """
    return read_catalogue(_FILE.read_text("utf-8"))


def read_catalogue(text: str) -> tuple[CatalogueEntry, ...]:
    """Reads and checks a catalogue.

    Args:
        text: In TOML, as in `catalogue.toml`.

    Raises:
        CatalogueError: it is no TOML, has keys or values that make no sense, or two entries have a name in common.
    """
    try:
        entries = msgspec.convert(tomllib.loads(text), _Catalogue).models
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise CatalogueError(f"the catalogue of models is wrong: {error}") from error
    _Index(entries)  # refuses names that lead to two entries
    return entries


def find_entry(name: str) -> CatalogueEntry | None:
    """Finds the model that someone calls by name; upper case and separators make no difference.

    Args:
        name: A name or alias, such as "qwen3-4b", "qwen3:4b" or "Qwen3 4B", or a file's name without quantization.
    """
    return _index().by_name.get(_words(name.removesuffix(":latest")))


def suggest_names(name: str) -> list[str]:
    """Lists names that someone may have meant by one that is unknown, the nearest first; at most five.

    Args:
        name: The typed text.
    """
    typed = name.strip().casefold().rpartition("/")[2][:_LONGEST_TYPED]
    if not typed:
        return []
    spellings = {spelling: entry.name for entry in load_catalogue() for spelling in (entry.name, *entry.aliases)}
    alike = difflib.get_close_matches(typed, spellings, len(spellings), _LEAST_LIKENESS)
    holding = (spelling for spelling in spellings if typed in spelling)
    return list(dict.fromkeys(spellings[spelling] for spelling in (*alike, *holding)))[:_MOST_SUGGESTIONS]


def entry_for_file(file_name: str, general_name: str = "") -> CatalogueEntry | None:
    """Recognises a model file on this machine as one of the catalogue's models, whatever its quantization.

    Every word of a name counts, so that relatives are told apart: other versions, base models and what others have
    made of a model are not taken for it.

    Args:
        file_name: Of the file, with or without ending and folders, or Ollama's name and tag.
        general_name: What the file says its model is called (`general.name`). It settles what the file name leaves
            open, but does not overrule it: who changes a model often leaves this as it was.
    """
    if general_name.casefold() in _index().by_label:  # nobody else's file says that
        return _index().by_label[general_name.casefold()]
    said = _FileName(file_name)
    labelled = _index().by_file.get(_FileName(general_name).words)
    if not said.words:
        return labelled
    if said.is_tag:
        # Ollama's short tags point to newer models from time to time; what lies there says which one it is.
        tagged = _index().by_name.get(said.words)
        return (labelled or tagged) if tagged else None
    recognised = _index().by_file.get(said.words)
    if recognised is None and labelled is not None and _index().by_name.get(said.words) is labelled:
        # Such as "llama-3.2-3b", which may be the base model as well.
        return labelled
    return recognised


# --- names in words ---

_WORD: Final = re.compile(r"[^\W\d_]+|\d+[^\W\d_]*")

# What says how a file was made, and not of which model.
_MAKING: Final = re.compile(
    r"(?<![a-z0-9])("
    r"(ud[-_])?i?q[1-8]([-_]([01]([-_][48][-_][48])?|k|[smlx]{1,3}|nl))*"
    r"|tq[12]_0|bf16|fp?16|fp?32|mxfp4([-_]moe)?|imat(rix)?|i1|gguf|ggml|latest"
    r")(?![a-z0-9])"
)
_PART_OR_COPY: Final = re.compile(r"(-[0-9]{5}-of-[0-9]{5}| ?\([0-9]+\))$")
_PUBLISHER: Final = re.compile(
    r"^(qwen|mistralai|meta-llama|nousresearch|huggingfacetb|deepseek-ai|tinyllama"
    r"|unsloth|bartowski|lmstudio-community|ggml-org|thebloke)_(?=[a-z])"
)
_BLOB: Final = re.compile(r"^sha256[-:][0-9a-f]{64}$")
_SAYS_NOTHING: Final = frozenset({"model", "weights", "unnamed"})
_OWNER_IN_FRONT: Final = "-gguf_"  # llama.cpp's cache: OWNER_REPOSITORY-GGUF_FILE


def _words(name: str) -> Words:
    return tuple(_WORD.findall(name.casefold()))


class _FileName:
    """The facts about a model in the name of its file, or in Ollama's name and tag.

    Attributes:
        words: The words without those on how the file was made; empty if the name says nothing of a model.
        is_tag: Whether it is a name and tag of Ollama's own library. Uploads of its users may contain anything.
    """

    def __init__(self, name: str) -> None:
        folders, _, last = name.casefold().replace("\\", "/").rpartition("/")
        self.is_tag = ":" in last and not folders and not _BLOB.match(last)
        stem = _PART_OR_COPY.sub("", last.removesuffix(".gguf")).rpartition(_OWNER_IN_FRONT)[2]
        words = () if _BLOB.match(stem) else _words(_MAKING.sub(" ", _PUBLISHER.sub("", stem)))
        if words[:1] == ("meta",):  # Meta's own name in front of Llama's; some files have it
            words = words[1:]
        self.words: Words = () if _SAYS_NOTHING.issuperset(words) else words


class _Index:
    """The entries of the catalogue, to be found by names.

    Attributes:
        by_name: By every name that one may type, file names included.
        by_file: By the facts in the names of their files.
        by_label: By their labels.

    Raises:
        CatalogueError: two entries, or two files, have a name in common.
    """

    def __init__(self, entries: tuple[CatalogueEntry, ...]) -> None:
        self.by_name: dict[Words, CatalogueEntry] = {}
        self.by_file: dict[Words, CatalogueEntry] = {}
        self.by_label = {label.casefold(): entry for entry in entries for label in entry.labels}
        for entry in entries:
            self.by_file[_FileName(entry.file).words] = entry
            for words in _names_of(entry):
                if self.by_name.setdefault(words, entry) is not entry:
                    raise CatalogueError(f"{entry.name} and {self.by_name[words].name} are called the same")


def _names_of(entry: CatalogueEntry) -> Iterator[Words]:
    yield from (_words(name) for name in (entry.name, *entry.aliases, entry.title))
    yield _FileName(entry.file).words


@functools.cache
def _index() -> _Index:
    return _Index(load_catalogue())
