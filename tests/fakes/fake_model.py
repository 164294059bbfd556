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
from tui_llama.engine.state_file import KvArray, StateFingerprint, StateShape
from tui_llama.engine.templates.thinking.knowledge import TemplateThinking
from tui_llama.engine.tokenizer.tokenizer import Tokenizer, TokenKind
from tui_llama.engine.tokenizer.vocabulary import Vocabulary
from tui_llama.errors import EngineError, ModelFileError

BOS, EOS = 256, 257
VOCAB_SIZE = 258
CHUNK_TOKENS = 16

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
        self._filled: dict[int, int] = {}
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
        if self.exact_tokens == len(self):
            self.exact_tokens += len(ids)
        next_position = self.positions[-1] + 1 if self.positions else 0
        self.positions += range(next_position, next_position + len(ids))
        self.token_ids += ids
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

    def rewind(self, length: int) -> None:
        assert 0 <= length <= len(self)
        del self.token_ids[length:], self.positions[length:], self.numbers[length:]
        self.exact_tokens = min(self.exact_tokens, length)
        if self._own_tokens is not None and self._own_tokens >= length:
            self._own_tokens = None

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

    def kv(self, first: int, last: int) -> KvArray:
        """Returns keys and values, (1, 2, tokens, 1, 2) float16, made from each token and the values before it."""
        assert 0 <= first <= last <= len(self)
        numbers = np.array(self.numbers[first:last], np.int32)
        keys = np.stack([numbers, -numbers], axis=1).astype(np.float16)
        return np.stack([keys, keys + 1])[None, :, :, None, :]

    def expect(self, length: int) -> None:
        assert 0 <= length <= self._model.context_size

    def fill(self, first: int, kv: KvArray) -> None:
        self._filled.update(enumerate(kv[0, 0, :, 0, 0].astype(int).tolist(), first))

    def adopt(self, token_ids: Sequence[int], *, is_foreign: bool = False) -> None:
        assert self.exact_tokens == len(self)
        if is_foreign:
            self._own_tokens = self.own_tokens
        places = range(len(self), len(self) + len(token_ids))
        self.numbers += [self._filled[place] for place in places]
        self.positions += places
        self.token_ids += token_ids
        self.exact_tokens = len(self)

    def close(self) -> None:
        self.token_ids, self.positions, self.numbers, self.exact_tokens = [], [], [], 0
        self._own_tokens = None


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
        self.state_shape = StateShape(1, 1, 2, "f16")
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
