"""A model without weights. A rule, which a test can choose, computes every token from the tokens before it.

The vocabulary has the 256 bytes and the two control tokens `<s>` and `</s>`, so a text has as many tokens as bytes.
Keys and values are made from the tokens, so that tests can store and compare them.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from tui_llama.chat import ChatMessage
from tui_llama.engine.descriptions import ModelInfo
from tui_llama.engine.events import LoadStage
from tui_llama.engine.model.interface import PromptTemplate
from tui_llama.engine.requests import LoadRequest
from tui_llama.engine.state_file import StateFingerprint
from tui_llama.engine.state_shape import KvArray, StateShape
from tui_llama.engine.templates.thinking.knowledge import TemplateThinking
from tui_llama.engine.tokenizer.tokenizer import Tokenizer, TokenKind
from tui_llama.engine.tokenizer.vocabulary import Vocabulary
from tui_llama.errors import EngineError, ModelFileError

BOS, EOS = 256, 257
VOCAB_SIZE = 258
CHUNK_TOKENS = 16
SPARE_POSITIONS = 24
"""By how much the rings of a fake model are longer than its windows."""

Rule = Callable[[Sequence[int]], int]


def any_letter(token_ids: Sequence[int]) -> int:
    """Returns a lower-case letter that depends on every token before it."""
    checksum: int = zlib.crc32(np.asarray(token_ids, np.uint32).tobytes())
    return ord("a") + checksum % 26


def answering(text: str) -> Rule:
    """Returns a rule that writes `text` after the last `:`, byte by byte, and ends. `text` must not contain `:`."""
    answer = list(text.encode()) + [EOS]  # noqa: RUF005 - mypy loses the type of the other form

    def rule(token_ids: Sequence[int]) -> int:
        said = list(reversed(token_ids)).index(ord(":"))
        return answer[min(said, len(answer) - 1)]

    return rule


class FakeSequence:
    """The cache of a fake model, which holds the tokens themselves."""

    def __init__(self, model: "FakeModel") -> None:
        self._model = model
        self.token_ids: list[int] = []
        self.positions: list[int] = []
        self.exact_tokens = 0
        self._own_tokens: int | None = None
        self.batch_sizes: list[int] = []
        self.numbers: list[int] = []
        self._stored: list[dict[int, int]] = [{} for _ in model.state_shape.groups]
        self._kept_from = [0 for _ in model.state_shape.groups]
        self._rows = np.zeros((0, VOCAB_SIZE), np.float32)

    def __len__(self) -> int:
        return len(self.token_ids)

    def extend(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        self._take(ids)
        logits = np.zeros(self._model.vocab_size, np.float32)
        logits[self._model.next_token(self.token_ids)] = self._model.peak
        return logits

    def verify(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        self._take(ids)
        first = len(self) - len(ids)
        self._rows = np.zeros((len(ids), self._model.vocab_size), np.float32)
        for index, row in enumerate(self._rows):
            row[self._model.next_token(self.token_ids[: first + index + 1])] = self._model.peak
        return self._rows

    def _take(self, ids: Sequence[int]) -> None:
        if len(self) + len(ids) > self._model.context_size:
            raise EngineError("the context is full")
        self._rows[:] = np.nan  # the rows that were returned before are no longer valid
        for token_id in ids:
            before = self.numbers[-1] if self.numbers else 0
            self.numbers.append((before * 31 + token_id * 7 + 3) % 1009)
            for stored in self._stored:
                stored[len(self.numbers) - 1] = self.numbers[-1]
        if self.exact_tokens == len(self):
            self.exact_tokens += len(ids)
        next_position = self.positions[-1] + 1 if self.positions else 0
        self.positions += range(next_position, next_position + len(ids))
        self.token_ids += ids
        self._note_written(len(self))
        self.batch_sizes.append(len(ids))

    def extend_in_chunks(
        self, ids: Sequence[int], chunk_seconds: float = 0.25, first_tokens: int = 16
    ) -> Iterator[tuple[int, npt.NDArray[np.float32] | None]]:
        if not ids:
            raise EngineError("no tokens to feed")
        for start in range(0, len(ids), CHUNK_TOKENS):
            logits = self.extend(ids[start : start + CHUNK_TOKENS])
            done = min(start + CHUNK_TOKENS, len(ids))
            yield done, logits if done == len(ids) else None

    def _note_written(self, end: int) -> None:
        for index, group in enumerate(self._model.state_shape.groups):
            if group.window:
                self._kept_from[index] = max(self._kept_from[index], end - group.window - SPARE_POSITIONS)

    def miscompute(self, position: int, error: int) -> None:
        """Makes the keys and values of a token wrong."""
        self.numbers[position] += error
        for stored in self._stored:
            stored[range(len(self))[position]] += error

    def kept_from(self, group: int) -> int:
        return self._kept_from[group]

    def rewindable(self, length: int) -> int:
        groups = self._model.state_shape.groups
        seen = [max(0, length - group.window + 1) if group.window else 0 for group in groups]
        return length if all(kept <= first for kept, first in zip(self._kept_from, seen, strict=True)) else 0

    def rewind(self, length: int) -> None:
        assert 0 <= length <= len(self)
        assert self.rewindable(length) == length
        if length == 0:
            self._kept_from = [0 for _ in self._kept_from]
        del self.token_ids[length:], self.positions[length:], self.numbers[length:]
        self.exact_tokens = min(self.exact_tokens, length)
        if self._own_tokens is not None and self._own_tokens >= length:
            self._own_tokens = None

    @property
    def can_share_positions(self) -> bool:
        return self._model.state_shape.is_trimmable

    @property
    def own_tokens(self) -> int:
        return len(self) if self._own_tokens is None else self._own_tokens

    def shift(self, first: int, count: int) -> None:
        assert 0 <= first < first + count < len(self)
        del self.token_ids[first : first + count], self.positions[-count:], self.numbers[first : first + count]
        self.exact_tokens = min(self.exact_tokens, first)

    def set_positions(self, positions: Sequence[int]) -> None:
        assert len(positions) == len(self)
        changed = [new != old for new, old in zip(positions, self.positions, strict=True)]
        self.exact_tokens = min(self.exact_tokens, changed.index(True) if True in changed else len(self))
        self.positions = list(positions)

    def kv(self, group: int, first: int, last: int) -> KvArray:
        """Returns keys and values made from the token and the values before it; those of a ring may be lost."""
        assert self._kept_from[group] <= first <= last <= len(self)
        shape = self._model.state_shape
        sizes = shape.groups[group]
        numbers = np.array([self._stored[group][position] for position in range(first, last)], np.int32) + group
        kv = np.empty(shape.kv_shape(sizes, last - first), np.float16)
        kv[..., 0::2], kv[..., 1::2] = numbers[None, :, None, None], -numbers[None, :, None, None]
        kv[..., sizes.key_dim :] += 1
        return kv

    def expect(self, length: int, firsts: Sequence[int]) -> None:
        assert 0 <= length <= self._model.context_size
        for index, first in enumerate(firsts):
            if first > len(self):
                self._kept_from[index] = max(self._kept_from[index], first)
        self._note_written(length)

    def fill(self, group: int, first: int, kv: KvArray) -> None:
        numbers = kv[0, :, 0, 0].astype(int) - group
        self._stored[group].update(enumerate(numbers.tolist(), first))

    def adopt(self, token_ids: Sequence[int], *, is_foreign: bool = False) -> None:
        assert self.exact_tokens == len(self)
        if is_foreign:
            self._own_tokens = self.own_tokens
        places = range(len(self), len(self) + len(token_ids))
        self.numbers += [max(stored.get(place, 0) for stored in self._stored) for place in places]
        self.positions += places
        self.token_ids += token_ids
        self.exact_tokens = len(self)

    def close(self) -> None:
        self.token_ids, self.positions, self.numbers, self.exact_tokens = [], [], [], 0
        self._own_tokens = None
        self._kept_from = [0 for _ in self._kept_from]


class FakeTemplate:
    """A template that writes `<s>role:text</s>` for every message, then `<s>assistant:`."""

    def __init__(self, stop_texts: tuple[str, ...] = ()) -> None:
        self._stop_texts = stop_texts
        self.notices: tuple[str, ...] = ()
        self.thinking = TemplateThinking("", lambda messages, values, asks: "")

    def stop_texts_of(self, source: str) -> tuple[str, ...]:
        return self._stop_texts

    def without_fallback(self) -> "FakeTemplate":
        return self

    def take_notices(self) -> tuple[str, ...]:
        return ()

    def render(
        self,
        messages: Sequence[ChatMessage],
        *,
        add_generation_prompt: bool = True,
        now: datetime | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> str:
        said = "".join(f"<s>{message.role}:{message.text}</s>" for message in messages)
        return said + "<s>assistant:" if add_generation_prompt else said


class FakeModel:
    """A model whose next token is `rule(tokens so far)`.

    Args:
        rule: Chooses the most likely next token.
        context_size: The most tokens that a sequence takes.
        name: The name. A model of another name cannot use this model's state files.
        peak: The logit of the chosen token. The others are 0.
        vocabulary: The fingerprint of its vocabulary.
        first_byte: The id of byte 0. The ids before it are not used. The rule does not see this shift.
        state_shape: The sizes of keys and values, by default of one layer that sees everything.
    """

    def __init__(
        self,
        rule: Rule = any_letter,
        context_size: int = 512,
        name: str = "fake",
        peak: float = 1.0,
        *,
        vocabulary: str = "",
        first_byte: int = 0,
        state_shape: StateShape | None = None,
    ) -> None:
        self.rule = rule
        self.context_size = context_size
        self.peak = peak
        self.first_byte = first_byte
        self.vocab_size = first_byte + VOCAB_SIZE
        self.notices: tuple[str, ...] = ()
        self.tokenizer = byte_tokenizer(first_byte)
        self.chat_template: PromptTemplate = FakeTemplate()
        self.fingerprint = StateFingerprint(name.encode().ljust(32), bytes(16), 1)
        self.state_shape = state_shape or StateShape.uniform(1, 1, 2)
        self.info = ModelInfo(
            name=name,
            path=f"{name}.gguf",
            architecture="llama",
            quantization="F32",
            parameter_count=1,
            weight_bytes=4,
            vocab_size=self.vocab_size,
            context_size=context_size,
            trained_context_size=4096,
            key_value_bytes_per_token=8,
            template_source="fake",
            vocabulary=vocabulary,
        )
        self.sequences: list[FakeSequence] = []
        self.closed = False

    def next_token(self, token_ids: Sequence[int]) -> int:
        """Returns the most likely next token."""
        if self.first_byte:
            assert all(self.first_byte <= token_id < self.vocab_size for token_id in token_ids), "another vocabulary's"
        return self.first_byte + self.rule([token_id - self.first_byte for token_id in token_ids])

    def check_file(self) -> None:
        """Does nothing: there is no file."""

    def new_sequence(self) -> FakeSequence:
        self.sequences.append(FakeSequence(self))
        return self.sequences[-1]

    def close(self) -> None:
        self.closed = True


class FakeOpener:
    """Opens fake models, one for each file name that it knows, and records the requests."""

    def __init__(self, *models: FakeModel) -> None:
        self._models = {model.info.path: model for model in models or (FakeModel(),)}
        self.asked: list[LoadRequest] = []

    def __call__(self, request: LoadRequest, on_progress: Callable[[LoadStage, int, int], None]) -> FakeModel:
        self.asked.append(request)
        if request.model_path not in self._models:
            raise ModelFileError(f"{request.model_path}: no such file", "Check the name.")
        for stage in LoadStage:
            on_progress(stage, 1, 1)
        return self._models[request.model_path]


class _ByteEncoder:
    def __init__(self, first_byte: int) -> None:
        self._first_byte = first_byte

    def encode(self, text: str) -> list[int]:
        return [self._first_byte + byte for byte in text.encode()]

    def piece(self, token_id: int) -> bytes:
        return bytes([token_id - self._first_byte])


def byte_tokenizer(first_byte: int = 0, control: Sequence[str] = (), user_defined: Sequence[str] = ()) -> Tokenizer:
    """Returns a tokenizer whose tokens are bytes, after `first_byte` tokens that are not used.

    Behind `<s>` and `</s>` come further control tokens and user-defined ones, in this order.
    """
    texts = [f"[UNUSED{number}]" for number in range(first_byte)]
    texts += [f"<0x{byte:02X}>" for byte in range(256)] + ["<s>", "</s>", *control, *user_defined]
    vocabulary = Vocabulary(
        texts=texts,
        ids={text: token_id for token_id, text in enumerate(texts)},
        kinds=np.asarray(
            [TokenKind.UNUSED] * first_byte
            + [TokenKind.NORMAL] * 256
            + [TokenKind.CONTROL] * (2 + len(control))
            + [TokenKind.USER_DEFINED] * len(user_defined),
            np.uint8,
        ),
        scores=None,
        bos_id=first_byte + BOS,
        eos_id=first_byte + EOS,
        unknown_id=None,
        add_bos=False,
        add_eos=False,
        add_space_prefix=False,
        end_of_generation=frozenset({first_byte + EOS}),
    )
    return Tokenizer(vocabulary, _ByteEncoder(first_byte))
