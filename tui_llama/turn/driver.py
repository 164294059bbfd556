"""The turns of a conversation: carries out the machine's actions, and makes its events of what the engine reports.

Everything that changes the conversation passes `dispatch`, on the event loop and without waiting in between, so that
no two things happen at once. Loading and replying run beside it and come back as events. Knows no widgets: what is to
be seen is told to a `TurnView`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from tui_llama import conversation
from tui_llama.chat import ChatMessage, Role, SamplingSettings, StopReason, Usage
from tui_llama.chats import chat_prompt_cache
from tui_llama.chats.chat_date import date_text, local_now
from tui_llama.chats.journal import Journal
from tui_llama.chats.ledger import TOKENISED_AGAIN, UNKNOWN_VOCABULARY, FedTokens, Ledger
from tui_llama.chats.open_chat import Entry, OpenChat
from tui_llama.conversation import State, TurnMachine
from tui_llama.engine import protocol
from tui_llama.engine.process.border import GuardedEngine
from tui_llama.engine.protocol import (
    CompleteRequest,
    Engine,
    EstimateRequest,
    ModelInfo,
    PromptEstimate,
    ReadAheadRequest,
    ReplyRequest,
)
from tui_llama.errors import EngineError, EngineLostError, IllegalTransitionError, UserError
from tui_llama.turn.meter import TurnMeter

if TYPE_CHECKING:
    from tui_llama.settings import Settings

LAST_MODEL = "last_model"
"""The store's preference that names the model file used last."""

MakeRequest: TypeAlias = Callable[[int, OpenChat], Awaitable[ReplyRequest | CompleteRequest]]

_ANY_MESSAGE = "And?"
"""Stands for what will be said next, where nothing is written yet."""

_NO_END = "The engine ended without saying why."


class TurnView(Protocol):
    """Where a conversation is seen."""

    def add_message(self, entry: Entry) -> None:
        """The user said something."""
        ...

    def replace_message(self, position: int, entry: Entry) -> None:
        """The user said something else in place of message number `position`; what followed is gone."""
        ...

    def remove_last_answer(self) -> None:
        """The last answer is gone, and what was told of it."""
        ...

    def begin_answer(self) -> None:
        """An answer begins; it is empty and grows."""
        ...

    def reopen_answer(self, entry: Entry) -> None:
        """The last answer goes on, and nothing is below it any more."""
        ...

    def append(self, text: str) -> None:
        """More of the answer."""
        ...

    def finish_answer(self, entry: Entry) -> None:
        """The answer is whole."""
        ...

    def add_notice(self, text: str) -> None:
        """Something that the user should know, one line."""
        ...

    def add_failure(self, message: str, hint: str) -> None:
        """Something went wrong."""
        ...

    def show_state(self) -> None:
        """The state may be another one."""
        ...

    def show_figures(self) -> None:
        """Only what the meter says has changed, which may be seen a little later."""
        ...


class TurnDriver:
    """A conversation with an engine.

    Args:
        engine_factory: Opens an engine; called once, when the first model is loaded.
        settings: As the user set them.
        journal: Writes what is to be remembered of models.
        chat: The chat that is open; another one may be set while no answer is.
        view: Where all of it is seen.
        spawn: Runs a coroutine, which has a name.

    Attributes:
        meter: The figures of the turn.
        model: What is loaded; None while nothing is.
        model_path: The file that was last asked for.
    """

    def __init__(
        self,
        engine_factory: Callable[[], Engine],
        settings: "Settings",
        journal: Journal,
        chat: OpenChat,
        view: TurnView,
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self._engine = GuardedEngine(engine_factory)
        self._settings = settings
        self._journal = journal
        self._view = view
        self._spawn = spawn
        self._machine = TurnMachine()
        self._engine_is_free = asyncio.Lock()
        self._notices_of_models: set[tuple[str, str]] = set()
        self._models_told_of_tokens: set[str] = set()
        self.chat = chat
        self.meter = TurnMeter()
        self.model: ModelInfo | None = None
        self.model_path = ""

    @property
    def state(self) -> State:
        """Where the conversation stands."""
        return self._machine.state

    @property
    def model_is_loading(self) -> bool:
        """Whether a load is under way."""
        return self._machine.model_is_loading

    def allows(self, event_type: type[conversation.Event]) -> bool:
        """Whether an event of this kind is legal now."""
        return self._machine.allows(event_type)

    # --- the machine --------------------------------------------------------------------------------------------

    def dispatch(self, event: conversation.Event) -> None:
        """Tells the machine, and does what it says.

        Raises:
            IllegalTransitionError: the machine does not allow it; nothing has changed.
        """
        self._carry_out(event)
        self._view.show_state()

    def wish(self, event: conversation.Event) -> bool:
        """Dispatches what the user wants if it is possible now, and says whether it was."""
        self._notice_a_lost_engine()
        if not self.allows(type(event)):
            return False
        self.dispatch(event)
        return True

    def open_chat(self, chat: OpenChat) -> None:
        """Another chat is open, or another way that this one went.

        Raises:
            IllegalTransitionError: an answer is under way or awaited.
        """
        self._machine.handle(conversation.OpenChat())
        if chat is not self.chat:
            self._models_told_of_tokens.clear()
        self.chat = chat
        answer = chat.last_answer
        self.meter.start_chat(answer.usage if answer else None)

    def tell(self, notice: str) -> None:
        """Shows what is to be known of a turn, or of what is read ahead.

        That the chat is tokenised again is found out in more than one place and more than one turn; it is shown once
        for each model.
        """
        if notice == TOKENISED_AGAIN:
            if self.model_path in self._models_told_of_tokens:
                return
            self._models_told_of_tokens.add(self.model_path)
        self._view.add_notice(notice)

    async def stop_and_wait(self) -> None:
        """Ends the turn; when it returns, no answer is open and none waits."""
        if self.allows(conversation.Stop):
            self.dispatch(conversation.Stop())
        if self._machine.answer_is_open:
            async with self._engine_is_free:
                return

    async def close(self) -> None:
        """Ends the engine, if there is one."""
        with suppress(EngineError):  # there is nobody left to tell; the log has it
            await self._engine.close()

    def _carry_out(self, event: conversation.Event) -> None:
        for action in self._machine.handle(event):
            self._perform(action)

    def _notice_a_lost_engine(self) -> None:
        """An engine that ended while nothing was asked of it is started again like one that ended in a turn."""
        if not self._engine.is_alive and self.allows(conversation.EngineLostAtRest):
            self._view.add_notice("The engine had ended; it is started again.")
            self.dispatch(conversation.EngineLostAtRest())

    def _perform(self, action: conversation.Action) -> None:
        chat, view = self.chat, self._view
        match action:
            case conversation.StartLoading(load=load, model_path=path):
                self.model_path = path or self.model_path
                self.model = None
                self.meter.start_load()
                self._spawn(self._load(load, self.model_path), f"load {load}")
            case conversation.StopLoading() | conversation.StopReply():
                self._cancel_engine()
            case conversation.SaveMessage(text=text):
                view.add_message(chat.add_message(text))
            case conversation.ReplaceMessage(position=position, text=text):
                view.replace_message(position, chat.replace_message(position, text))
            case conversation.SetAnswerAside():
                if chat.set_answer_aside():
                    view.remove_last_answer()
            case conversation.StartReply(turn=number):
                self.meter.start_turn()
                self._spawn(self._reply(number, chat, self._open_answer()), f"turn {number}")
            case conversation.AppendText(text=text, token_ids=token_ids):
                chat.append(text, token_ids)
                self.meter.note_tokens(len(token_ids), monotonic())
                view.append(text)
            case conversation.FinishAnswer(stop_reason=reason, usage=usage):
                entry = chat.finish_answer(reason, usage)
                self.meter.note_usage(usage)
                view.finish_answer(entry)
            case conversation.ShowFailure(message=message, hint=hint):
                view.add_failure(message, hint)

    # --- loading ------------------------------------------------------------------------------------------------

    async def _load(self, load: int, path: str) -> None:
        """Loads a model; what becomes of it are events of this number."""
        request = chat_prompt_cache.with_prompt_cache(
            self._settings.load_request(path), self._settings.prompt_cache_mib
        )
        async with self._engine_is_free:
            if load != self._machine.numbers.load or not self.model_is_loading:
                return
            try:
                async for event in self._engine.load(request):
                    self._take_load_event(load, event)
                if self.model_is_loading and load == self._machine.numbers.load:
                    self.dispatch(conversation.LoadFailed(load, _NO_END))
            except EngineLostError as error:
                self.dispatch(conversation.EngineLostInLoad(load, str(error), error.hint))
            except UserError as error:
                self.dispatch(conversation.LoadFailed(load, str(error), error.hint))

    def _take_load_event(self, load: int, event: protocol.LoadEvent) -> None:
        match event:
            case protocol.LoadProgress(stage=stage, done=done, total=total):
                self.meter.note_load(stage, done, total)
                self._carry_out(conversation.LoadAdvanced(load))
                self._view.show_figures()
            case protocol.ModelLoaded(model=model, notices=notices):
                if load == self._machine.numbers.load:
                    self._note_model(model, notices)
                self.dispatch(conversation.ModelReady(load))
            case protocol.Notice(text=text):
                self._view.add_notice(text)
            case protocol.Failed(message=message, hint=hint):
                self.dispatch(conversation.LoadFailed(load, message, hint))

    def _note_model(self, model: ModelInfo, notices: Sequence[str]) -> None:
        self.model = model
        self.meter.note_model(model.context_size)
        path = self.model_path
        self.chat.set_model(path)
        self._journal.write(lambda store: store.set_preference(LAST_MODEL, path))
        for notice in notices:
            # A model that is loaded again, after its engine was lost, has nothing new to tell.
            if (path, notice) not in self._notices_of_models:
                self._view.add_notice(notice)
            self._notices_of_models.add((path, notice))

    # --- replying -----------------------------------------------------------------------------------------------

    def _open_answer(self) -> MakeRequest:
        """Opens an answer, or the last one again; returns what makes the request for it."""
        chat, has_guard = self.chat, self._settings.loop_guard == "on"
        if not chat.ends_in_answer:
            chat.begin_answer()
            self._view.begin_answer()
            return partial(self._request, has_guard=has_guard)
        entry = chat.reopen_answer()
        self._view.reopen_answer(entry)
        return partial(self._continuation, has_guard=has_guard and not entry.may_repeat)

    async def _reply(self, number: int, chat: OpenChat, make_request: MakeRequest) -> None:
        """Asks for an answer; what becomes of it are events of this number."""
        async with self._engine_is_free:
            try:
                request = await make_request(number, chat)
                if self.state is not State.READING:
                    # Stopped before the engine was asked.
                    self.dispatch(conversation.ReplyFinished(number, StopReason.STOPPED, Usage()))
                    return
                async for event in self._engine.reply(request):
                    self._take_reply_event(number, event)
                if self._machine.answer_is_open:
                    self.dispatch(conversation.ReplyFailed(number, _NO_END))
            except EngineLostError as error:
                self.dispatch(conversation.EngineLostInTurn(number, str(error), error.hint))
            except UserError as error:
                self.dispatch(conversation.ReplyFailed(number, str(error), error.hint))
            except IllegalTransitionError as error:
                self._cancel_engine()
                self.dispatch(conversation.ReplyFailed(number, f"The engine got out of step: {error}."))

    async def _request(self, number: int, chat: OpenChat, *, has_guard: bool) -> ReplyRequest:
        settings = self._settings
        fed = self._fed(await chat.ledger())
        return ReplyRequest(
            turn=number,
            messages=chat.prompt_messages(),
            ledger=fed.token_ids,
            vocabulary=fed.vocabulary,
            begun_at=date_text(chat.begun_at),
            sampling=self._sampling(),
            max_tokens=settings.max_tokens,
            chat_id=chat.stored_owner_id,
            draft_max=settings.draft_max,
            overflow=settings.overflow(),
            loop_guard=has_guard,
        )

    async def _continuation(self, number: int, chat: OpenChat, *, has_guard: bool) -> CompleteRequest:
        """What asks for more of the open answer, token by token from where it was cut off.

        One whose tokens are of another vocabulary, or of one that nobody knows, goes on from its text.
        """
        settings = self._settings
        ledger, answer_tokens = await chat.ledger_to_go_on()
        fed = self._fed(ledger)
        has_tokens = fed.vocabulary == self._vocabulary and not fed.lacks_newest
        return CompleteRequest(
            turn=number,
            text="",
            sampling=self._sampling(),
            max_tokens=settings.max_tokens,
            chat_id=chat.stored_owner_id,
            draft_max=settings.draft_max,
            overflow=settings.overflow(),
            ledger=fed.token_ids,
            vocabulary=fed.vocabulary,
            begun_at=date_text(chat.begun_at),
            loop_guard=has_guard,
            answer=chat.entries[-1].text,
            answer_tokens=0 if fed.lacks_newest else answer_tokens,
            messages=() if has_tokens else chat.messages(),
        )

    @property
    def _vocabulary(self) -> str:
        """The fingerprint of the loaded model's vocabulary."""
        return UNKNOWN_VOCABULARY if self.model is None else self.model.vocabulary

    def _fed(self, ledger: Ledger) -> FedTokens:
        """What the loaded model may go on from; says so if it is not all that was fed."""
        fed = ledger.fed_in(self._vocabulary)
        if fed.lacks_newest:
            self.tell(TOKENISED_AGAIN)
        return fed

    def _sampling(self) -> SamplingSettings:
        """What the user set, over what comes with the model."""
        from tui_llama.chosen_sampling import choose_sampling  # here: the first frame does without the catalogue

        return choose_sampling(self._settings, self.model).sampling

    def _take_reply_event(self, number: int, event: protocol.ReplyEvent) -> None:
        match event:
            case protocol.PromptEncoded():
                self._take_prompt(event)
            case protocol.PromptProgress(
                reused_tokens=reused, done_tokens=done, total_tokens=total, reread_cause=cause
            ):
                self.meter.note_prompt(reused, done, total, monotonic(), cause)
                self._carry_out(conversation.PromptAdvanced(number))
                self._view.show_figures()
            case protocol.TextPiece(text=text, token_ids=token_ids):
                was_answering = self.state is State.ANSWERING
                self._carry_out(conversation.TextArrived(number, text, token_ids))
                self._view.show_figures() if was_answering else self._view.show_state()
            case protocol.Notice(text=text):
                self.tell(text)
            case protocol.Finished(stop_reason=reason, usage=usage):
                self.dispatch(conversation.ReplyFinished(number, reason, usage))
            case protocol.Failed(message=message, hint=hint):
                self.dispatch(conversation.ReplyFailed(number, message, hint))

    def _take_prompt(self, event: protocol.PromptEncoded) -> None:
        kept, token_ids, vocabulary = event.kept_tokens, event.token_ids, event.vocabulary
        if not self.chat.has_prompt:
            self.chat.set_prompt(kept, token_ids, vocabulary)
        elif event.answer_tokens is not None:
            self.chat.set_answer_tokens(kept, token_ids, vocabulary, event.answer_tokens)
        else:  # an answer that goes on has had its prompt
            return
        self._tell_what_is_left_out(event.left_out_messages)

    def _tell_what_is_left_out(self, message_count: int) -> None:
        """Says when more or fewer of the chat's messages are left out of the prompt than so far."""
        if message_count not in (0, self.chat.left_out_messages):
            self._view.add_notice(_left_out_words(message_count))
        self.chat.left_out_messages = message_count

    # --- what is asked beside the turn --------------------------------------------------------------------------

    async def read_ahead_request(self, draft: str) -> tuple[Engine, ReadAheadRequest] | None:
        """What is to be read before the next message, and by whom; None if there is nothing."""
        chat, settings = self.chat, self._settings
        if not draft and not chat.messages():
            return None
        async with self._engine_is_free:  # a reply that has just ended may not have let go of it yet
            fed = self._fed(await chat.whole_ledger())
        return self._engine, ReadAheadRequest(
            messages=chat.messages(),
            draft=draft,
            ledger=fed.token_ids,
            vocabulary=fed.vocabulary,
            begun_at=date_text(chat.begun_at),
            max_tokens=settings.max_tokens,
            chat_id=chat.owner_id,
            overflow=settings.overflow(),
        )

    async def estimate(self, position: int, text: str) -> PromptEstimate | None:
        """What a reply to `text` in place of message number `position` would have to read; None while nobody knows.

        Raises:
            EngineError: there can be no such reply.
            EngineLostError: the engine's process ended.
        """
        return await self._estimate(position, text) if text.strip() else None

    async def estimate_of_today(self, draft: str) -> PromptEstimate | None:
        """What the next reply would have to read if the model were told today's date; None while nobody knows.

        Args:
            draft: What the user will say next, as far as it is written.

        Raises:
            EngineError: there can be no such reply.
            EngineLostError: the engine's process ended.
        """
        text = (draft if draft.strip() else _ANY_MESSAGE) if self.chat.ends_in_answer else ""
        return await self._estimate(len(self.chat.entries), text, begun_at=local_now())

    async def prompt(self, draft: str, position: int | None) -> PromptEstimate | None:
        """What the model is given; None while there is nothing to give, or no model to give it to.

        Args:
            draft: The message that is being written. Where there is none, it is the prompt of the last answer.
            position: The number of the message that the draft is to replace; None where it is a new one.

        Raises:
            EngineError: there can be no such prompt.
            EngineLostError: the engine's process ended.
        """
        count = len(self.chat.entries)
        if not draft.strip():
            count -= self.chat.ends_in_answer
            return await self._estimate(count, "", shows_prompt=True) if count else None
        return await self._estimate(count if position is None else position, draft, shows_prompt=True)

    async def _estimate(
        self, position: int, text: str, *, begun_at: datetime | None = None, shows_prompt: bool = False
    ) -> PromptEstimate | None:
        """Of the conversation before message number `position`, and of `text` behind it if there is any."""
        chat, settings = self.chat, self._settings
        async with self._engine_is_free:
            if self.model is None or self.model_is_loading:
                return None
            fed = (await chat.ledger_before(position)).fed_in(self._vocabulary)
            question = (ChatMessage(Role.USER, text),) if text else ()
            request = EstimateRequest(
                messages=(*chat.messages_before(position), *question),
                ledger=fed.token_ids,
                vocabulary=fed.vocabulary,
                begun_at=date_text(begun_at or chat.begun_at),
                max_tokens=settings.max_tokens,
                chat_id=chat.owner_id,
                overflow=settings.overflow(),
                shows_prompt=shows_prompt,
            )
            return await self._engine.estimate(request)

    def _cancel_engine(self) -> None:
        try:
            self._engine.cancel()
        except EngineError as error:
            self._view.add_failure(str(error), error.hint)


def _left_out_words(message_count: int) -> str:
    """That so many of the oldest messages are not shown to the model."""
    if message_count == 1:
        return "The oldest message no longer fits and is left out."
    return f"{message_count} older messages no longer fit and are left out."
