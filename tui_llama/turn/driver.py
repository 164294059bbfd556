"""Drives the turns: carries out the machine's actions, and makes its events of what the engine reports.

Everything that changes the conversation passes `dispatch`, on the event loop and without waiting in between, so that
no two things happen at once. Loading and replying run beside it and come back as events. The driver knows no widgets:
it tells a `TurnView` what is to be seen.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

from tui_llama import conversation
from tui_llama.chat import StopReason, Usage
from tui_llama.chats.chat_date import local_now
from tui_llama.chats.journal import Journal
from tui_llama.chats.open_chat import OpenChat
from tui_llama.chats.store import LAST_MODEL
from tui_llama.conversation import State, TurnMachine
from tui_llama.engine import events
from tui_llama.engine.descriptions import Capabilities, ModelInfo
from tui_llama.engine.events import FailureCause, PromptEstimate
from tui_llama.engine.process.border import GuardedEngine
from tui_llama.engine.protocol import Engine, LoadEvent, ReplyEvent
from tui_llama.engine.requests import CompleteRequest, IdlePrefillRequest, ReplyRequest
from tui_llama.errors import EngineError, EngineLostError, IllegalTransitionError, UserError
from tui_llama.turn.meter import TurnMeter
from tui_llama.turn.notices import Notices, load_failure_hint
from tui_llama.turn.requests import RequestMaker
from tui_llama.turn.view import TurnView

if TYPE_CHECKING:
    from tui_llama.settings import Settings

MakeRequest: TypeAlias = Callable[[int, OpenChat], Awaitable[ReplyRequest | CompleteRequest]]

_ANY_MESSAGE = "And?"
"""Stands for what will be said next, where nothing is written yet."""

REPLY_FAILURES: Mapping[FailureCause, type[conversation.ReplyFailed]] = {
    FailureCause.ENGINE: conversation.ReplyFailed,
    FailureCause.NOT_FOUND: conversation.ServerNotFound,
    FailureCause.REFUSED: conversation.ConnectionRefused,
    FailureCause.NOT_TRUSTED: conversation.ServerNotTrusted,
    FailureCause.KEY_REFUSED: conversation.KeyRefused,
    FailureCause.NO_SUCH_MODEL: conversation.NoSuchModel,
    FailureCause.BUSY: conversation.ServerBusy,
    FailureCause.SERVER_ERROR: conversation.ServerError,
    FailureCause.CUT_OFF: conversation.StreamCutOff,
    FailureCause.ERROR_IN_STREAM: conversation.ErrorInStream,
    FailureCause.NO_END: conversation.StreamWithoutEnd,
    FailureCause.SILENT: conversation.ServerSilent,
}
"""The machine's event for each cause of a failed reply."""

_NO_END = "The engine ended without saying why."


class TurnDriver:
    """A conversation with an engine.

    Args:
        engine_factory: Opens an engine; called once, when the first model is loaded.
        settings: As the user set them.
        journal: Stores the preferences about models.
        chat: The chat that is open; another one may be set while no answer is.
        view: Shows the turns.
        spawn: Runs work that has a name; work that is ended at once may never begin.

    Attributes:
        requests: Makes the requests to the engine.
        meter: The figures of the turn.
        model: The loaded model; None while none is loaded.
        model_path: The file of the last request to load, or the address of a server's model.
    """

    def __init__(
        self,
        engine_factory: Callable[[], Engine],
        settings: "Settings",
        journal: Journal,
        chat: OpenChat,
        view: TurnView,
        spawn: Callable[[Callable[[], Coroutine[Any, Any, None]], str], object],
    ) -> None:
        self._engine = GuardedEngine(engine_factory)
        self._journal = journal
        self._view = view
        self._spawn = spawn
        self._machine = TurnMachine()
        self._engine_is_free = asyncio.Lock()
        self._notices = Notices(view.add_notice)
        self.requests = RequestMaker(settings, lambda: self.model, self.tell)
        self.chat = chat
        self.meter = TurnMeter()
        self.model: ModelInfo | None = None
        self.model_path = ""

    @property
    def state(self) -> State:
        """The state of the conversation."""
        return self._machine.state

    @property
    def model_is_loading(self) -> bool:
        """True while a load is under way."""
        return self._machine.model_is_loading

    @property
    def capabilities(self) -> Capabilities:
        """What the engine can do with the loaded model; all that a local one can while none is loaded."""
        return Capabilities() if self.model is None else self.model.capabilities

    def allows(self, event_type: type[conversation.Event]) -> bool:
        """Tells whether an event of this kind is legal now."""
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
        """Goes to another chat, or to another branch of this one.

        Raises:
            IllegalTransitionError: an answer is under way or awaited.
        """
        self._machine.handle(conversation.OpenChat())
        if chat is not self.chat:
            self._notices.start_chat()
        self.chat = chat
        answer = chat.last_answer
        self.meter.start_chat(answer.usage if answer else None)

    def tell(self, notice: str, *, is_lasting: bool = False) -> None:
        """Shows a notice of a turn or of idle prefill; one that lasts, once for each model."""
        self._notices.tell(notice, self.model_path, is_lasting=is_lasting)

    async def stop_and_wait(self) -> None:
        """Ends the turn; when it returns, no answer is open and none waits."""
        if self.allows(conversation.Stop):
            self.dispatch(conversation.Stop())
        if self._machine.answer_is_open:
            async with self._engine_is_free:
                return

    async def close(self) -> None:
        """Ends the engine, if there is one."""
        with suppress(EngineError):  # the program ends, so nobody can be told; the log has it
            await self._engine.close()

    def _carry_out(self, event: conversation.Event) -> None:
        for action in self._machine.handle(event):
            self._perform(action)

    def _notice_a_lost_engine(self) -> None:
        """Starts an engine again that ended between two requests, as it does with one that ended in a turn."""
        if not self._engine.is_alive and self.allows(conversation.EngineLostAtRest):
            self._view.add_notice("The engine had ended; it is started again.")
            self.dispatch(conversation.EngineLostAtRest())

    def _perform(self, action: conversation.Action) -> None:
        chat, view = self.chat, self._view
        match action:
            case conversation.StartLoading(load=load, model_path=path):
                self.model_path = path or self.model_path
                self.model = None
                self.meter.start_load(self.requests.server_name(self.model_path))
                self._spawn(partial(self._load, load, self.model_path), f"load {load}")
            case conversation.StopLoading() | conversation.StopReply():
                self._cancel_engine()
            case conversation.SaveMessage(text=text, attachments=attachments):
                view.add_message(chat.add_message(text, attachments))
            case conversation.ReplaceMessage(position=position, text=text, attachments=attachments):
                view.replace_message(position, chat.replace_message(position, text, attachments))
            case conversation.SetAnswerAside():
                if chat.set_answer_aside():
                    view.remove_last_answer()
            case conversation.StartReply(turn=number):
                self.meter.start_turn()
                self._spawn(partial(self._reply, number, chat, self._open_answer()), f"turn {number}")
            case conversation.AppendText(text=text, token_ids=token_ids):
                if text and chat.has_prompt and not self.capabilities.has_exact_tokens:
                    chat.end_answer_tokens()
                chat.append(text, token_ids)
                self.meter.note_tokens(len(token_ids), monotonic())
                view.append(text)
            case conversation.FinishAnswer(stop_reason=reason, usage=usage):
                entry = chat.finish_answer(reason, usage)
                self.meter.note_usage(usage)
                view.finish_answer(entry)
            case conversation.ShowFailure(message=message, hint=hint):
                server = self.meter.server if self.state is State.NO_MODEL else ""
                view.add_failure(message, load_failure_hint(hint, server))

    # --- loading ------------------------------------------------------------------------------------------------

    async def _load(self, load: int, path: str) -> None:
        """Loads a model; what becomes of it are events of this number."""
        request = self.requests.load(path)
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

    def _take_load_event(self, load: int, event: LoadEvent) -> None:
        match event:
            case events.LoadProgress(stage=stage, done=done, total=total):
                self.meter.note_load(stage, done, total)
                self._carry_out(conversation.LoadAdvanced(load))
                self._view.show_figures()
            case events.ModelLoaded(model=model, notices=notices):
                if load == self._machine.numbers.load:
                    self._note_model(model, notices)
                self.dispatch(conversation.ModelReady(load))
            case events.Notice(text=text):
                self._view.add_notice(text)
            case events.Failed(message=message, hint=hint):
                self.dispatch(conversation.LoadFailed(load, message, hint))

    def _note_model(self, model: ModelInfo, notices: Sequence[str]) -> None:
        self.model = model
        self.meter.note_model(model.context_size)
        if model.server:  # whoever named only the server gets the same model the next time
            self.model_path = model.path
        path = self.model_path
        self.chat.set_model(path)
        self._journal.write(lambda store: store.set_preference(LAST_MODEL, path))
        self._notices.tell_of_model(path, notices)

    # --- replying -----------------------------------------------------------------------------------------------

    def _open_answer(self) -> MakeRequest:
        """Opens an answer, or the last one again; returns what makes the request for it."""
        chat = self.chat
        if not chat.ends_in_answer:
            chat.begin_answer()
            self._view.begin_answer()
            return self.requests.reply
        self._view.reopen_answer(chat.reopen_answer())
        return self.requests.continuation

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

    def _take_reply_event(self, number: int, event: ReplyEvent) -> None:
        match event:
            case events.PromptEncoded():
                self._take_prompt(event)
            case events.PromptProgress(reused_tokens=reused, done_tokens=done, total_tokens=total, reread_cause=cause):
                self.meter.note_prompt(reused, done, total, monotonic(), cause)
                self._carry_out(conversation.PromptAdvanced(number))
                self._view.show_figures()
            case events.TextPiece(text=text, token_ids=token_ids):
                was_answering = self.state is State.ANSWERING
                self._carry_out(conversation.TextArrived(number, text, token_ids))
                self._view.show_figures() if was_answering else self._view.show_state()
            case events.Notice(text=text, is_lasting=is_lasting):
                self.tell(text, is_lasting=is_lasting)
            case events.Finished(stop_reason=reason, usage=usage):
                self.dispatch(conversation.ReplyFinished(number, reason, usage))
            case events.Failed(message=message, hint=hint, cause=cause):
                self.dispatch(REPLY_FAILURES[cause](number, message, hint))

    def _take_prompt(self, event: events.PromptEncoded) -> None:
        kept, token_ids, vocabulary = event.kept_tokens, event.token_ids, event.vocabulary
        if event.answer_tokens is not None:
            self.chat.set_answer_tokens(kept, token_ids, vocabulary, event.answer_tokens)
        elif not self.chat.has_prompt:
            self.chat.set_prompt(kept, token_ids, vocabulary)
        else:  # an answer that goes on has had its prompt
            return
        self._notices.tell_what_is_left_out(self.chat, event.left_out_messages)

    # --- what is asked beside the turn --------------------------------------------------------------------------

    async def idle_prefill_request(self, draft: str) -> tuple[Engine, IdlePrefillRequest] | None:
        """Returns whom to ask for idle prefill, and the request for it; None if there is nothing to read."""
        chat = self.chat
        if not self.capabilities.can_prefill_idle or (not draft and not chat.messages()):
            return None
        async with self._engine_is_free:  # a reply that has just ended may not have let go of it yet
            request = await self.requests.idle_prefill(chat, draft)
        return self._engine, request

    async def estimate(self, position: int, text: str) -> PromptEstimate | None:
        """Returns what a reply to `text` in place of message `position` would have to read; None if nobody knows.

        Raises:
            EngineError: there can be no such reply.
            EngineLostError: the engine's process ended.
        """
        return await self._estimate(position, text) if text.strip() else None

    async def estimate_of_today(self, draft: str) -> PromptEstimate | None:
        """Returns what the next reply would have to read if the model were told today's date; None if nobody knows.

        Args:
            draft: What the user will say next, as far as it is written.

        Raises:
            EngineError: there can be no such reply.
            EngineLostError: the engine's process ended.
        """
        text = (draft if draft.strip() else _ANY_MESSAGE) if self.chat.ends_in_answer else ""
        return await self._estimate(len(self.chat.entries), text, begun_at=local_now())

    async def prompt(self, draft: str, position: int | None) -> PromptEstimate | None:
        """Returns what the model is given; None while there is nothing to give, or no model that could tell.

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
        """Asks for the price of a prompt: the conversation before message `position`, and `text` behind it if any."""
        chat = self.chat
        async with self._engine_is_free:
            if self.model is None or self.model_is_loading or not self.capabilities.can_estimate:
                return None
            request = await self.requests.estimate(chat, position, text, begun_at, shows_prompt=shows_prompt)
            return await self._engine.estimate(request)

    def _cancel_engine(self) -> None:
        try:
            self._engine.cancel()
        except EngineError as error:
            self._view.add_failure(str(error), error.hint)
