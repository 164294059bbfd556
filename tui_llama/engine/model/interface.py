"""The interfaces of a model, its sequences and its chat template; the engine works on these, tests on fakes of them."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from tui_llama.chat import ChatMessage
from tui_llama.engine.protocol import LoadRequest, LoadStage, ModelInfo
from tui_llama.engine.state_file import Rows, StateFingerprint, StateShape
from tui_llama.engine.tokenizer.tokenizer import Tokenizer

Logits: TypeAlias = npt.NDArray[np.float32]
"""(vocab,) float32."""

LogitsRows: TypeAlias = npt.NDArray[np.float32]
"""(tokens, vocab) float32."""

ReportProgress: TypeAlias = Callable[[LoadStage, int, int], None]
"""Called with the stage, the part of it that is done, and its total; may raise an error to stop the loading."""


class TokenSequence(Protocol):
    """Tokens that a model has read, with their keys and values: the one interface of all that works on sequences."""

    @property
    def token_ids(self) -> Sequence[int]:
        """The tokens in the cache."""
        ...

    def __len__(self) -> int:
        """Returns how many tokens are in the cache."""
        ...

    def extend(self, ids: Sequence[int]) -> Logits:
        """Reads `ids` and returns the logits after the last."""
        ...

    def verify(self, ids: Sequence[int]) -> LogitsRows:
        """Reads `ids` and returns the logits after each of them, valid until the model reads on."""
        ...

    def extend_in_chunks(
        self, ids: Sequence[int], chunk_seconds: float = 0.25, first_tokens: int = 16
    ) -> Iterator[tuple[int, Logits | None]]:
        """Yields how many of `ids` are read so far, and at the end the logits; may be left at any yield.

        One chunk takes about `chunk_seconds`, if that is enough for a few tokens; the first has `first_tokens`.
        """
        ...

    def rewind(self, length: int) -> None:
        """Forgets all but the first `length` tokens."""
        ...

    @property
    def positions(self) -> Sequence[int]:
        """The positions that the tokens count as, never descending; the next token follows the last."""
        ...

    @property
    def exact_tokens(self) -> int:
        """How many tokens at the start have the keys and values that reading them gives: all, unless some moved."""
        ...

    def shift(self, first: int, count: int) -> None:
        """Forgets `count` tokens from the `first` on; the tokens after them move down."""
        ...

    def set_positions(self, positions: Sequence[int]) -> None:
        """Gives the tokens other positions, never descending, of which several tokens may share one."""
        ...

    def rows(self, first: int, last: int) -> Rows:
        """Returns a copy of the keys and values at positions `first` … `last` - 1; see `state_file.Rows`."""
        ...

    def expect(self, length: int) -> None:
        """Announces that rows up to a position will be filled in soon."""
        ...

    def fill(self, first: int, rows: Rows) -> None:
        """Writes keys and values after those of the tokens; `adopt` makes them readable. Any thread may call it."""
        ...

    def adopt(self, token_ids: Sequence[int], *, is_foreign: bool = False) -> None:
        """Appends tokens whose keys and values were filled in; `is_foreign` where another program computed them."""
        ...

    @property
    def own_tokens(self) -> int:
        """How many tokens at the start have keys and values of this program: all, unless foreign ones were adopted."""
        ...

    def close(self) -> None:
        """Frees the cache's memory."""
        ...


class PromptTemplate(Protocol):
    """Turns a conversation into the text that a model was trained on."""

    @property
    def stop_texts(self) -> tuple[str, ...]:
        """Texts that end an answer, besides the model's own tokens."""
        ...

    @property
    def notices(self) -> tuple[str, ...]:
        """Notices to the user, one line each; they are among the model's notices."""
        ...

    def take_notices(self) -> tuple[str, ...]:
        """Returns the notices to the user since the last call, one line each."""
        ...

    def render(
        self, messages: Sequence[ChatMessage], *, add_generation_prompt: bool = True, now: datetime | None = None
    ) -> str:
        """Returns the whole prompt, up to where the answer begins or the last message ends.

        A template that asks for the date is told `now`, by default the present.
        """
        ...


class LanguageModel(Protocol):
    """A model that is ready to run."""

    @property
    def info(self) -> ModelInfo:
        """What the screen shows of the model."""
        ...

    @property
    def notices(self) -> tuple[str, ...]:
        """Notices to the user, one line each."""
        ...

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to tokens and back."""
        ...

    @property
    def chat_template(self) -> PromptTemplate:
        """Messages to text."""
        ...

    @property
    def context_size(self) -> int:
        """The most tokens that a sequence holds."""
        ...

    @property
    def vocab_size(self) -> int:
        """How many logits there are."""
        ...

    @property
    def fingerprint(self) -> StateFingerprint:
        """What stored keys and values of the model belong to."""
        ...

    @property
    def state_shape(self) -> StateShape:
        """The shape of keys and values in a state file."""
        ...

    def new_sequence(self) -> TokenSequence:
        """Returns an empty sequence."""
        ...

    def close(self) -> None:
        """Frees the memory and ends the threads."""
        ...


class ModelOpener(Protocol):
    """Opens a model: our own, or a test's fake."""

    def __call__(self, request: LoadRequest, on_progress: ReportProgress) -> LanguageModel:
        """Opens the model that is asked for; raises `UserError` where that fails."""
        ...
