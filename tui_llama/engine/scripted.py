"""An engine that replays a written script: for tests of the screen, demonstrations and pictures.

A script is a list of steps. An event is yielded as it is (its turn filled in), a `Gate` waits until somebody
opens it, a `Pause` waits, a `Loss` ends the engine. Cancelling skips what is left, but for `AfterCancel`,
which is how an engine that has not noticed yet looks from outside.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import msgspec

from tui_llama.chat import StopReason, Usage
from tui_llama.engine.descriptions import ModelInfo
from tui_llama.engine.events import (
    Failed,
    Finished,
    IdlePrefillFinished,
    LoadProgress,
    LoadStage,
    ModelLoaded,
    Notice,
    PromptEncoded,
    PromptEstimate,
    PromptPart,
    PromptProgress,
    TextPiece,
    Tokenized,
)
from tui_llama.engine.prompting.prompt_messages import prompt_messages
from tui_llama.engine.protocol import IdlePrefillEvent, LoadEvent, ReplyEvent
from tui_llama.engine.requests import (
    CompleteRequest,
    EstimateRequest,
    IdlePrefillRequest,
    LoadRequest,
    ReplyRequest,
    TokenizeRequest,
)
from tui_llama.errors import EngineLostError

CONTEXT_SIZE = 8192


class Gate:
    """A step that waits until `open` is called, or until the engine is cancelled."""

    def __init__(self) -> None:
        self._opened = asyncio.Event()
        self._reached = asyncio.Event()

    def open(self) -> None:
        """Lets the script go on."""
        self._opened.set()

    async def reached(self) -> None:
        """Returns when the script stands at this gate, or has passed it."""
        await self._reached.wait()

    async def wait(self) -> None:
        """Returns when the gate is open."""
        self._reached.set()
        await self._opened.wait()


@dataclass(frozen=True, slots=True)
class Pause:
    """A step that waits for some seconds, or until the engine is cancelled."""

    seconds: float


class ThoughtGate:
    """A step that waits until the engine is told to answer now, or is cancelled.

    Attributes:
        reached: Set when the script stands at this gate.
    """

    def __init__(self) -> None:
        self.reached = asyncio.Event()


@dataclass(frozen=True, slots=True)
class Loss:
    """A step at which the engine's process ends."""

    message: str = "The engine ended unexpectedly."
    hint: str = "Send the message again; the engine starts again."


@dataclass(frozen=True, slots=True)
class AfterCancel:
    """An event that only comes when the reply was cancelled, before it ends."""

    event: ReplyEvent


Step: TypeAlias = LoadEvent | ReplyEvent | IdlePrefillEvent | Gate | ThoughtGate | Pause | Loss | AfterCancel
ReplyScript: TypeAlias = Callable[[ReplyRequest | CompleteRequest], Iterable[Step]]
LoadScript: TypeAlias = Callable[[LoadRequest], Iterable[Step]]
IdlePrefillScript: TypeAlias = Callable[[IdlePrefillRequest], Iterable[Step]]
EstimateScript: TypeAlias = Callable[[EstimateRequest], PromptEstimate]


class ScriptedEngine:
    """An `Engine` that says what it was told to say.

    Args:
        load: The steps of each load, or a function that makes them. The default is the demonstration's.
        replies: The steps of each reply in turn, or a function that makes them from the request. When the
            list is used up, the demonstration goes on.
        idle_prefill: Makes the steps of each idle prefill; by default it ends at once.
        estimate: Says what a reply would cost, or raises; by default what the demonstration's would.

    Attributes:
        load_requests: The loads that were asked for.
        reply_requests: The replies that were asked for.
        idle_prefill_requests: The idle prefills that were asked for.
        estimate_requests: The estimates that were asked for.
        answer_now_count: How often a thought was to be closed.
        is_alive: Whether there is a process to ask; a test may end it between two requests.
        is_closed: Whether the engine was ended.
    """

    def __init__(
        self,
        *,
        load: Iterable[Step] | LoadScript | None = None,
        replies: Iterable[Iterable[Step]] | ReplyScript | None = None,
        idle_prefill: IdlePrefillScript | None = None,
        estimate: EstimateScript | None = None,
    ) -> None:
        self._load_script = _load_script(load)
        self._reply_script = _reply_script(replies)
        self._idle_prefill_script = idle_prefill or (lambda _request: (IdlePrefillFinished(0),))
        self._estimate_script = estimate or _demo_estimate
        self._cancelled = asyncio.Event()
        self._answering_now = asyncio.Event()
        self.answer_now_count = 0
        self.load_requests: list[LoadRequest] = []
        self.reply_requests: list[ReplyRequest | CompleteRequest] = []
        self.idle_prefill_requests: list[IdlePrefillRequest] = []
        self.estimate_requests: list[EstimateRequest] = []
        self.is_alive = False
        self.is_closed = False

    async def load(self, request: LoadRequest) -> AsyncIterator[LoadEvent]:
        """Replays the steps of a load."""
        self.load_requests.append(request)
        self.is_alive = True
        self._cancelled.clear()
        for step in self._load_script(request):
            if self._cancelled.is_set():
                yield Failed(None, "Loading was stopped.")
                return
            if await self._is_event(step):
                yield cast(LoadEvent, step)

    async def reply(self, request: ReplyRequest | CompleteRequest) -> AsyncIterator[ReplyEvent]:
        """Replays the steps of a reply; when cancelled, ends with `Finished` and the reason `STOPPED`."""
        self.reply_requests.append(request)
        self._cancelled.clear()
        self._answering_now.clear()
        for step in self._reply_script(request):
            if isinstance(step, AfterCancel):
                if self._cancelled.is_set():
                    yield _of_turn(step.event, request.turn)
            elif not self._cancelled.is_set() and await self._is_event(step):
                yield _of_turn(cast(ReplyEvent, step), request.turn)
        if self._cancelled.is_set():
            yield Finished(request.turn, StopReason.STOPPED, Usage(context_size=CONTEXT_SIZE))

    async def idle_prefill(self, request: IdlePrefillRequest) -> AsyncIterator[IdlePrefillEvent]:
        """Replays the steps of an idle prefill."""
        self.idle_prefill_requests.append(request)
        self._cancelled.clear()
        for step in self._idle_prefill_script(request):
            if not self._cancelled.is_set() and await self._is_event(step):
                yield cast(IdlePrefillEvent, step)

    async def estimate(self, request: EstimateRequest) -> PromptEstimate:
        """Asks the script."""
        self.estimate_requests.append(request)
        return self._estimate_script(request)

    async def tokenize(self, request: TokenizeRequest) -> Tokenized:
        """Returns one token for each character, its code point."""
        text = "".join(map(chr, request.token_ids)) if request.text is None else request.text
        pieces = tuple(letter.encode() for letter in text) if request.with_pieces else ()
        return Tokenized(tuple(map(ord, text)), text, pieces)

    def cancel(self) -> None:
        """Skips what is left of the script."""
        self._cancelled.set()

    def answer_now(self) -> None:
        """Lets `ThoughtGate` steps go on, those to come among them."""
        self.answer_now_count += 1
        self._answering_now.set()

    async def close(self) -> None:
        """Ends the engine; a script that waits goes on and ends."""
        self.is_alive, self.is_closed = False, True
        self._cancelled.set()

    async def _is_event(self, step: Step) -> bool:
        """Carries out a step that is no event; says whether it was one, and may still be yielded."""
        match step:
            case Gate():
                await self._unless_cancelled(step.wait())
            case ThoughtGate():
                step.reached.set()
                await self._unless_cancelled(_until_set(self._answering_now))
            case Pause(seconds=0):
                await asyncio.sleep(0)  # too short to be cancelled: nobody has to wait for both
            case Pause(seconds=seconds):
                await self._unless_cancelled(asyncio.sleep(seconds))
            case Loss(message=message, hint=hint):
                self.is_alive = False
                raise EngineLostError(message, hint)
            case AfterCancel():
                return False
            case _:
                return True
        return False

    async def _unless_cancelled(self, waiting: Coroutine[Any, Any, None]) -> None:
        tasks = {asyncio.ensure_future(waiting), asyncio.ensure_future(self._cancelled.wait())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _until_set(event: asyncio.Event) -> None:
    await event.wait()


def _of_turn(event: ReplyEvent, turn: int) -> ReplyEvent:
    return event if isinstance(event, Notice) else msgspec.structs.replace(event, turn=turn)


def _load_script(load: Iterable[Step] | LoadScript | None) -> LoadScript:
    if load is None:
        return demo_load
    if callable(load):
        return load
    steps = tuple(load)
    return lambda _request: steps


def _reply_script(replies: Iterable[Iterable[Step]] | ReplyScript | None) -> ReplyScript:
    if replies is None:
        return demo_reply
    if callable(replies):
        return replies
    remaining = iter(tuple(replies))
    return lambda request: next(remaining, None) or demo_reply(request)


# --- the demonstration --------------------------------------------------------------------------------------


DEMO_ANSWER = """\
Of course. A **llama** is a domesticated South American camelid, kept as a pack animal since before the Inca.

1. It hums when it is content, curious or worried.
2. It carries about a quarter of its own weight, and *sits down* when that is too much.
3. It guards sheep well.

```python
def llamas_needed(load_kilograms: float, llama_kilograms: float = 140.0) -> int:
    \"\"\"How many llamas carry a load, at a quarter of their weight each.\"\"\"
    return math.ceil(load_kilograms / (llama_kilograms / 4))
```

| animal | weight | carries |
|--------|-------:|--------:|
| llama  | 140 kg |   35 kg |
| alpaca |  65 kg |       – |

Shall I say more about any of these?
"""


def demo_model(path: str) -> ModelInfo:
    """Describes a small model that does not exist."""
    return ModelInfo(
        name=Path(path).stem or "demo",
        path=path,
        architecture="llama",
        quantization="Q4_K_M",
        parameter_count=1_235_814_432,
        weight_bytes=807_694_464,
        vocab_size=128_256,
        context_size=CONTEXT_SIZE,
        trained_context_size=131_072,
        key_value_bytes_per_token=32_768,
        template_source="model file",
    )


def demo_load(request: LoadRequest, seconds: float = 0.0) -> list[Step]:
    """Returns the steps of loading in every stage, spread over `seconds`."""
    steps: list[Step] = []
    for stage in LoadStage:
        for done in range(0, 101, 20):
            steps += [LoadProgress(stage, done, 100), Pause(seconds / 24)]
    return [*steps, ModelLoaded(demo_model(request.model_path))]


def demo_reply(
    request: ReplyRequest | CompleteRequest, answer: str = DEMO_ANSWER, seconds_per_token: float = 0.0
) -> list[Step]:
    """Returns the demonstration's answer, word by word, after a prompt as long as the conversation."""
    prompt_tokens = _prompt_tokens(request)
    reused_tokens = min(len(getattr(request, "ledger", ())), prompt_tokens - 1)
    words = [word for line in answer.splitlines(keepends=True) for word in _words(line)]
    usage = Usage(
        reused_tokens=reused_tokens,
        read_tokens=prompt_tokens - reused_tokens,
        generated_tokens=len(words),
        read_seconds=0.2,
        generate_seconds=max(0.01, seconds_per_token) * len(words),
        context_used=prompt_tokens + len(words),
        context_size=CONTEXT_SIZE,
    )
    return [
        PromptEncoded(0, reused_tokens, tuple(range(reused_tokens, prompt_tokens))),
        PromptProgress(0, reused_tokens, reused_tokens, prompt_tokens),
        Pause(seconds_per_token),
        PromptProgress(0, reused_tokens, prompt_tokens, prompt_tokens),
        *_spoken(words, seconds_per_token),
        Finished(0, StopReason.END_OF_GENERATION, usage),
    ]


def _spoken(words: Sequence[str], seconds_per_token: float) -> Iterable[Step]:
    for token_id, word in enumerate(words):
        yield TextPiece(0, word, (token_id,))
        yield Pause(seconds_per_token)


def _words(line: str) -> list[str]:
    """Splits a line into words with the blanks before them, so that joining them gives the line again."""
    words = line.split(" ")
    return [words[0], *(f" {word}" for word in words[1:])]


def _demo_estimate(request: EstimateRequest) -> PromptEstimate:
    """Returns the cost of the demonstration's reply."""
    tokens = _prompt_tokens(request)
    kept = min(len(request.ledger), tokens - 1)
    if not request.shows_prompt:
        message_tokens = len(request.messages[-1].text) // 4 if request.messages else 0
        return PromptEstimate(kept, tokens - kept, None, message_tokens=message_tokens)
    parts = tuple(PromptPart(f"{message.role}: {message.text}\n") for message in prompt_messages(request.messages))
    return PromptEstimate(kept, tokens - kept, None, parts, "demonstration")


def _prompt_tokens(request: ReplyRequest | CompleteRequest | EstimateRequest) -> int:
    """Returns a plausible number of tokens: one for four characters, and five for each message's frame."""
    texts = [request.text] if isinstance(request, CompleteRequest) else [item.text for item in request.messages]
    return sum(5 + len(text) // 4 for text in texts)
