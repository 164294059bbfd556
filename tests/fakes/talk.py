"""Conversations with an engine whose model has no weights, kept as a program would keep them."""

from collections.abc import Callable, Iterable
from pathlib import Path

from tests.fakes.engine_events import text_of
from tests.fakes.fake_model import FakeModel, FakeOpener, Rule, any_letter
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.events import Finished, PromptEncoded, TextPiece
from tui_llama.engine.local import LocalEngine
from tui_llama.engine.protocol import LoadEvent, ReplyEvent
from tui_llama.engine.requests import CompleteRequest, LoadRequest, ReplyRequest
from tui_llama.sampling.settings import SamplingSettings

GREEDY = SamplingSettings(temperature=0.0)
CHAT, OTHER_CHAT = "c" * 32, "d" * 32


def never() -> bool:
    return False


def once_asked(count: int) -> Callable[[], bool]:
    """A wish to stop that is there from the `count`-th question on."""
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > count

    return should_stop


class Talk:
    """A conversation with an engine, kept as a program would keep it: messages, and a ledger of tokens."""

    def __init__(self, engine: LocalEngine, chat_id: str | None = None) -> None:
        self.engine = engine
        self.chat_id = chat_id
        self.messages: tuple[ChatMessage, ...] = ()
        self.ledger: tuple[int, ...] = ()
        self.answer_tokens = 0
        self.turn = 0

    def say(
        self,
        text: str,
        should_stop: Callable[[], bool] = never,
        max_tokens: int | None = None,
        stop_texts: tuple[str, ...] = (),
    ) -> list[ReplyEvent]:
        self.turn += 1
        self.messages += (ChatMessage(Role.USER, text),)
        request = ReplyRequest(
            turn=self.turn,
            messages=self.messages,
            ledger=self.ledger,
            sampling=GREEDY,
            max_tokens=max_tokens,
            stop_texts=stop_texts,
            chat_id=self.chat_id,
        )
        events = list(self.engine.reply(request, should_stop))
        self.remember(events)
        return events

    def remember(self, events: Iterable[ReplyEvent]) -> None:
        for event in events:
            if isinstance(event, PromptEncoded):
                self.ledger = (*self.ledger[: event.kept_tokens], *event.token_ids)
                self.answer_tokens = 0
            elif isinstance(event, TextPiece):
                self.ledger += event.token_ids
                self.answer_tokens += len(event.token_ids)
        self.messages += (ChatMessage(Role.ASSISTANT, text_of(events)),)


def load(engine: LocalEngine, request: LoadRequest, should_stop: Callable[[], bool] = never) -> list[LoadEvent]:
    progress: list[LoadEvent] = []
    last = engine.load(request, should_stop, progress.append)
    return [*progress, last]


def engine_with(model: FakeModel) -> LocalEngine:
    engine = LocalEngine(FakeOpener(model))
    load(engine, LoadRequest(model.info.path))
    return engine


def talk_with(rule: Rule = any_letter, context_size: int = 512) -> Talk:
    return Talk(engine_with(FakeModel(rule, context_size)))


def engine_storing_in(folder: Path, model: FakeModel | None = None) -> LocalEngine:
    """An engine whose prompt cache is in `folder`."""
    model = model or FakeModel()
    engine = LocalEngine(FakeOpener(model))
    load(engine, LoadRequest(model.info.path, prompt_cache_folder=str(folder), prompt_cache_bytes=1 << 20))
    return engine


def saved_talk(folder: Path, rule: Rule = any_letter) -> Talk:
    """A conversation of one turn whose state is on disk."""
    talk = Talk(engine_storing_in(folder, FakeModel(rule)), CHAT)
    assert isinstance(talk.say("hi", max_tokens=9)[-1], Finished)
    return talk


def reopened(talk: Talk, folder: Path, model: FakeModel | None = None) -> Talk:
    """The same conversation in another process."""
    other = Talk(engine_storing_in(folder, model), talk.chat_id)
    other.messages, other.ledger, other.turn = talk.messages, talk.ledger, talk.turn
    return other


def state_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.tlk"))


def go_on(talk: Talk, shown: str, max_tokens: int | None = None) -> list[ReplyEvent]:
    """More of the answer that the ledger ends in, as the screen asks for it."""
    request = CompleteRequest(
        8,
        "",
        GREEDY,
        max_tokens,
        ledger=tuple(talk.ledger),
        chat_id=talk.chat_id,
        answer=shown,
        answer_tokens=talk.answer_tokens,
    )
    return list(talk.engine.reply(request, never))
