"""Replies of one model file that begin with what other programs have stored, and what they would be without it.

Each program is an engine of its own, as after a restart. The ledger of a request says which tokens it goes on from, so
any vocabulary will do.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from tests.engine.model.random_model import Key, write_model_of
from tests.fakes.engine_events import notices_of, tokens_of, usage_of
from tests.fakes.talk import CHAT, GREEDY, load, never
from tui_llama.engine import open_model
from tui_llama.engine.gguf.file import open_gguf
from tui_llama.engine.local import LocalEngine, open_requested
from tui_llama.engine.model.interface import ReportProgress
from tui_llama.engine.model.model import Model
from tui_llama.engine.model.preparation import prepare_model
from tui_llama.engine.plan.architectures import ARCHITECTURES
from tui_llama.engine.requests import CompleteRequest, LoadRequest
from tui_llama.engine.state_shape import StateShape
from tui_llama.engine.tensors.kv_cache import CacheShape, KeyValueCache
from tui_llama.engine.token_sequence import LogitsRows

ANSWER_TOKENS: Final = 4
MESSAGE_TOKENS: Final = 40
BATCHES: Final = (48, 5, 32)
"""Tokens of a batch, of one program after the other; what layers with windows keep hangs on them."""
_LEAST_TOKENS: Final = 600
_MOST_CONTEXT: Final = 1 << 15


_LAYERS: Final = {"exaone4": 64}
"""Layers that a model must have for any to have a window; else there is one more than up to the first full layer."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One reply: how many tokens it took over, how many it could, and whether its logits are those of reading all."""

    reused: int
    reusable: int
    has_same_bits: bool

    @property
    def is_right(self) -> bool:
        """Whether the reply took over what it could, to the same bits."""
        return self.has_same_bits and self.reused == self.reusable


def write_model(path: Path, architecture: str) -> Path:
    """Writes a random model of any declared architecture, in which some layers have windows if they may."""
    changes: dict[str, Key] = {"context_length": _MOST_CONTEXT}
    windows = ARCHITECTURES[architecture].windows
    if windows is not None and windows.period is not None:
        changes["block_count"] = _LAYERS.get(architecture, windows.period + 1)
    return write_model_of(path, architecture, changes)


def replies_from_disk(
    path: Path, folder: Path, cache_type: str = "f16", most_tokens: int = _MOST_CONTEXT
) -> dict[str, Outcome]:
    """Lets programs answer one after the other, each from what those before it have left on disk.

    Args:
        path: The model's file.
        folder: Where prompts are stored; empty.
        cache_type: How keys and values are kept.
        most_tokens: Most tokens of the first prompt, which else is so long that all windows have forgotten its begin.

    Returns:
        For each way of going on what came of it.
    """
    length = min(_first_prompt_tokens(state_of(path)), most_tokens)
    context_size = length + 8 * (MESSAGE_TOKENS + ANSWER_TOKENS)
    with _Programs(path, folder, cache_type, context_size) as programs:
        prompt = programs.message(length)
        first = [*prompt, *programs.start(prompt, reusable=0, name="first")]
        second = [*first, *programs.message(MESSAGE_TOKENS)]
        second += programs.start(second, reusable=len(first) - 1, name="resume")
        third = [*second, *programs.message(MESSAGE_TOKENS)]
        programs.start(third, reusable=len(second) - 1, name="resume twice")
        programs.start(third, reusable=len(third) - 1, name="the same again")
        branch = [*first, *programs.message(MESSAGE_TOKENS)]
        programs.start(branch, reusable=len(first), name="branch at the end of a turn")
        inside = [*second[:-25], *programs.message(MESSAGE_TOKENS)]
        programs.start(inside, reusable=len(second) - 25, name="branch inside a turn")
        programs.go_on([*inside[:-30], *programs.message(9)], reusable=len(inside) - 30, name="rewind")
        programs.start(third, reusable=len(third) - 1, name="back to the other branch")
        early = [*first[:100], *programs.message(MESSAGE_TOKENS)]
        programs.start(early, reusable=100 if programs.can_go_back else None, name="far back")
        return programs.outcomes


def state_of(path: Path) -> StateShape:
    """Returns the sizes of a model's keys and values."""
    with open_gguf(path) as file:
        return prepare_model(file).cache_shape.state


def _first_prompt_tokens(state: StateShape) -> int:
    """Returns how many tokens make every layer with a window forget the first of them."""
    shape = CacheShape(state, _MOST_CONTEXT, max(BATCHES))
    rings = [shape.positions(group) for group in state.groups if group.window]
    return max([_LEAST_TOKENS, *rings]) + 150


class _HearingOpener:
    """Opens models and notes their logits: `heard` has the bytes of the last ones at each position."""

    def __init__(self) -> None:
        self.heard: dict[int, bytes] = {}

    def __call__(self, request: LoadRequest, on_progress: ReportProgress) -> Model:
        model = open_requested(request, on_progress)
        run = model.run

        def hearing(
            cache: KeyValueCache, token_ids: npt.NDArray[np.int32], *, every_token: bool, rotation_offset: int = 0
        ) -> LogitsRows:
            rows = run(cache, token_ids, every_token=every_token, rotation_offset=rotation_offset)
            self.heard |= {cache.length - len(rows) + index: row.tobytes() for index, row in enumerate(rows)}
            return rows

        model.run = hearing  # type: ignore[method-assign]
        return model


class _Programs:
    """Programs that answer one after the other, and a model that reads everything itself.

    Args:
        path: The model's file.
        folder: Where prompts are stored.
        cache_type: How keys and values are kept.
        context_size: Tokens that a sequence may hold.
    """

    def __init__(self, path: Path, folder: Path, cache_type: str, context_size: int) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self._load = LoadRequest(
            str(path), context_size, threads=1, cache_type=cache_type,
            prompt_cache_folder=str(folder), prompt_cache_bytes=1 << 30,
        )  # fmt: skip
        self._reader: Model = open_model(path, threads=1, context_size=context_size, cache_type=cache_type)
        self._opener = _HearingOpener()
        self._engine = LocalEngine(self._opener)
        self._batches = cycle(BATCHES)
        self._random = np.random.default_rng(7)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.close()
        self._reader.close()

    @property
    def can_go_back(self) -> bool:
        """Whether all keys and values of a prompt are kept, however long it is."""
        return self._reader.state_shape.is_trimmable

    def message(self, count: int) -> list[int]:
        """Returns random tokens."""
        ids: list[int] = self._random.integers(3, self._reader.vocab_size, count).tolist()
        return ids

    def start(self, ids: Sequence[int], *, reusable: int | None, name: str) -> list[int]:
        """Starts another program, which answers; see `go_on`."""
        self._engine.close()
        self._engine = LocalEngine(self._opener)
        load(self._engine, replace(self._load, batch_tokens=next(self._batches)))
        return self.go_on(ids, reusable=reusable, name=name)

    def go_on(self, ids: Sequence[int], *, reusable: int | None, name: str) -> list[int]:
        """Answers tokens in the program that runs, and notes the outcome.

        Args:
            ids: All that was said.
            reusable: How many tokens it should take over; None where any number is right.
            name: The name of the outcome.

        Returns:
            The tokens of the answer.
        """
        self._opener.heard.clear()
        request = CompleteRequest(1, "", GREEDY, ANSWER_TOKENS, ignore_eos=True, ledger=tuple(ids), chat_id=CHAT)
        events = list(self._engine.reply(request, never))
        answer, reused = tokens_of(events), usage_of(events).reused_tokens
        assert notices_of(events) == []
        heard = [self._opener.heard[len(ids) - 1 + index] for index in range(len(answer))]
        has_same_bits = heard == self._read(ids, answer)
        self.outcomes[name] = Outcome(reused, reused if reusable is None else reusable, has_same_bits)
        return answer

    def _read(self, ids: Sequence[int], answer: Sequence[int]) -> list[bytes]:
        """Returns the logits that precede the tokens of an answer where everything is read anew."""
        with closing(self._reader.new_sequence()) as sequence:
            return [sequence.extend(each).tobytes() for each in (ids, *([token] for token in answer[:-1]))]
