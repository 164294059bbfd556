"""Drives the turns: carries out what the machine says, and tells a `TurnView` what is to be seen.

Everything that changes the conversation passes `dispatch`, on the event loop and without waiting in between, so that
no two things happen at once. Loading (`engine_host`) and replying (`reply`) run beside it and come back as events. The
driver knows no widgets.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from time import monotonic
from typing import Any

from tui_llama import conversation
from tui_llama.chats.open_chat import OpenChat
from tui_llama.conversation import State, TurnMachine
from tui_llama.engine import events
from tui_llama.engine.descriptions import Capabilities, ModelInfo
from tui_llama.turn.engine_host import EngineHost
from tui_llama.turn.message_queue import MessageQueue, joined
from tui_llama.turn.meter import TurnMeter
from tui_llama.turn.notices import Notices, load_failure_hint
from tui_llama.turn.path_changes import change_path
from tui_llama.turn.questions import Questions
from tui_llama.turn.reply import MakeRequest, Reply
from tui_llama.turn.requests import RequestMaker
from tui_llama.turn.view import TurnView


class TurnDriver:
    """One chat, whose turns have the engine in turn with those of other chats.

    Args:
        host: Has the engine and the model.
        chat: The chat.
        view: Shows the turns; another one when the chat comes to the screen or leaves it.
        spawn: Runs work that has a name; work that is ended at once may never begin.
        beside: The driver of a chat that is alive; None if there is none.

    Attributes:
        chat: The chat.
        view: Shows the turns.
        queued: What will be sent when the answer ends.
        requests: Makes the requests to the engine.
        questions: What the engine is asked beside the turns.
        meter: The figures of the turn.
    """

    def __init__(
        self,
        host: EngineHost,
        chat: OpenChat,
        view: TurnView,
        spawn: Callable[[Callable[[], Coroutine[Any, Any, None]], str], object],
        beside: "TurnDriver | None" = None,
    ) -> None:
        self._host = host
        self._spawn = spawn
        self._machine: TurnMachine = TurnMachine() if beside is None else TurnMachine.beside(beside._machine)
        self._notices = Notices(self.add_notice, host.told_of_models)
        self._answer_has_ended = asyncio.Event()
        self.view = view
        self.requests = RequestMaker(lambda: host.settings, lambda: host.model, self.tell)
        self.chat = chat
        self.questions = Questions(host, chat, self.requests, lambda: self.model_is_loading)
        self.queued = MessageQueue()
        self.meter = TurnMeter()
        if beside is not None:
            self._begin_beside(beside)

    def _begin_beside(self, other: "TurnDriver") -> None:
        """Takes over what the figures of another chat know of the model."""
        self.meter.start_load(self._host.server_name())
        if self.model is not None:
            self.meter.note_model(self.model.context_size)
        elif other.model_is_loading:
            self.meter.take_over_load(other.meter)
        self._note_last_usage()

    def _note_last_usage(self) -> None:
        answer = self.chat.last_answer
        self.meter.start_chat(answer.usage if answer else None)

    @property
    def state(self) -> State:
        """The state of the conversation."""
        return self._machine.state

    @property
    def is_busy(self) -> bool:
        """True while an answer is awaited or open."""
        return self.allows(conversation.Stop)

    @property
    def answer_is_open(self) -> bool:
        """True while the last message is an answer that grows."""
        return self._machine.answer_is_open

    @property
    def engine_is_taken(self) -> bool:
        """True while the engine answers in a chat, this one or another."""
        return self._host.is_answering

    @property
    def model_is_loading(self) -> bool:
        """True while a load is under way."""
        return self._machine.model_is_loading

    @property
    def model(self) -> ModelInfo | None:
        """The loaded model; None while none is loaded."""
        return self._host.model

    @property
    def model_path(self) -> str:
        """The file of the last request to load, or the address of a server's model."""
        return self._host.model_path

    @property
    def capabilities(self) -> Capabilities:
        """What the engine can do with the loaded model; all that a local one can while none is loaded."""
        return self._host.capabilities

    def allows(self, event_type: type[conversation.Event]) -> bool:
        """Tells whether an event of this kind is legal now."""
        return self._machine.allows(event_type)

    # --- the machine --------------------------------------------------------------------------------------------

    def dispatch(self, event: conversation.Event) -> None:
        """Tells the machine, and does what it says.

        Raises:
            IllegalTransitionError: the machine does not allow it; nothing has changed.
        """
        self.advance(event)
        self.view.show_state()

    def wish(self, event: conversation.Event) -> bool:
        """Dispatches what the user wants if it is possible now, and says whether it was."""
        self._notice_a_lost_engine()
        if not self.allows(type(event)):
            return False
        self.dispatch(event)
        return True

    def follow_path(self) -> None:
        """Goes on from the path of the chat, which is another one now.

        Raises:
            IllegalTransitionError: an answer is under way or awaited.
        """
        self._machine.handle(conversation.OpenChat())
        self._note_last_usage()

    def tell(self, notice: str, *, is_lasting: bool = False) -> None:
        """Shows a notice of a turn or of idle prefill; one that lasts, once for each model."""
        self._notices.tell(notice, self.model_path, is_lasting=is_lasting)

    def tell_what_is_left_out(self, message_count: int) -> None:
        """Says how many messages do not fit into the prompt, if it changes."""
        self._notices.tell_what_is_left_out(self.chat, message_count)

    async def stop_and_wait(self) -> None:
        """Ends the turn; when it returns, no answer is open and none is awaited."""
        while self.is_busy:  # again if something was sent meanwhile
            self.dispatch(conversation.Stop())
            await self.answer_ended()

    async def answer_ended(self) -> None:
        """Returns when no answer is open."""
        if self.answer_is_open:
            await self._answer_has_ended.wait()

    def advance(self, event: conversation.Event) -> None:
        """Does what the machine says of the event, where it comes too often for all of the state to be shown."""
        for action in self._machine.handle(event):
            self._perform(action)

    def _notice_a_lost_engine(self) -> None:
        """Starts an engine again that ended between two requests, as it does with one that ended in a turn."""
        is_lost = not self._host.engine.is_alive and not self._host.is_answering
        if is_lost and self.allows(conversation.EngineLostAtRest):
            self.add_notice("The engine had ended; it is started again.")
            self._host.report_loss()

    def _perform(self, action: conversation.Action) -> None:
        chat, view = self.chat, self.view
        match action:
            case conversation.StartLoading(load=load, model_path=path):
                self._host.start_loading(self, load, path)
            case conversation.StopLoading() | conversation.StopReply() | conversation.CloseThought():
                self._tell_engine(action)
            case conversation.SaveMessage(text=text, attachments=attachments):
                self.requests.once = {}  # it was for an answer that did not begin
                view.add_message(chat.add_message(text, attachments))
            case conversation.ReplaceMessage(position=position, text=text, attachments=attachments):
                self.requests.once = {}
                view.replace_message(position, chat.replace_message(position, text, attachments))
            case conversation.StartReply(turn=number):
                self._answer_has_ended.clear()
                self.meter.start_turn()
                self._spawn(Reply(number, self._host, self, self._open_answer()).run, f"turn {number}")
            case conversation.AppendText(text=text, token_ids=token_ids, thought=thought):
                if (text or thought) and chat.has_prompt and not self.capabilities.has_exact_tokens:
                    chat.end_answer_tokens()
                chat.append(text, token_ids, thought)
                self.meter.note_tokens(len(token_ids), monotonic())
                view.append(text, thought)
            case conversation.FinishAnswer(stop_reason=reason, usage=usage):
                entry = chat.finish_answer(reason, usage)
                self.meter.note_usage(usage)
                view.finish_answer(entry)
                self._answer_has_ended.set()
            case conversation.ShowFailure(message=message, hint=hint):
                server = self.meter.server if self.state is State.NO_MODEL else ""
                view.add_failure(message, load_failure_hint(hint, server))
            case conversation.ShowPath() | conversation.SetAnswerAside():
                self._perform_on_path(action)
            case _:
                self._perform_in_queue(action)

    def _perform_on_path(self, action: conversation.ShowPath | conversation.SetAnswerAside) -> None:
        """Carries out an action that takes messages away from what is shown."""
        match action:
            case conversation.ShowPath(change=change):
                change_path(self.chat, change)
                self._note_last_usage()
                self.view.show_path(self.chat.entries)
            case conversation.SetAnswerAside():
                if self.chat.set_answer_aside():
                    self.view.remove_last_answer()

    def _perform_in_queue(self, action: conversation.Action) -> None:
        """Carries out an action about what waits: this chat for the engine, or a message for the end of an answer."""
        match action:
            case conversation.JoinQueue():
                self._host.join(self)
            case conversation.LeaveQueue():
                self._host.leave(self)
            case conversation.FreeEngine():
                self._host.free()
            case conversation.ReportLoss():
                self._host.report_loss()
            case conversation.QueueMessage(text=text, attachments=attachments):
                self.queued.add(conversation.SendMessage(text, attachments))
                self.view.show_queued(self.queued.shown)
            case conversation.SendQueued():
                self._take_out_of_queue(None, self.advance)
            case conversation.ReturnQueued(number=number):
                self._take_out_of_queue(number, self.view.return_message)
            case conversation.ChangeQueued(number=number, place=place):
                self.queued.change(number, place)
                self.view.show_queued(self.queued.shown)

    def _take_out_of_queue(self, number: int | None, receive: Callable[[conversation.SendMessage], None]) -> None:
        """Hands on what is queued, as one message, before it leaves the queue: so the disk has it at every moment."""
        messages = self.queued.at(number)
        if messages:
            receive(joined(messages))
            self.queued.remove(messages)
            self.view.show_queued(self.queued.shown)

    def _tell_engine(self, action: conversation.Action) -> None:
        """Tells the engine, in the middle of its work, to stop it or to close the thought that it is in."""
        if isinstance(action, conversation.CloseThought):
            self._host.answer_now()
        else:
            self._host.cancel()

    # --- what the host tells of the engine ----------------------------------------------------------------------

    def note_load_began(self, server: str) -> None:
        """See `EngineUser`."""
        self.meter.start_load(server)

    def note_load_progress(self, load: int, event: events.LoadProgress) -> None:
        """See `EngineUser`."""
        self.meter.note_load(event.stage, event.done, event.total)
        self.advance(conversation.LoadAdvanced(load))
        self.view.show_figures()

    def note_model(self, model: ModelInfo) -> None:
        """See `EngineUser`."""
        self.meter.note_model(model.context_size)
        self.chat.set_model(self.model_path)

    def tell_of_model(self, notices: Sequence[str]) -> None:
        """See `EngineUser`."""
        self._notices.tell_of_model(self.model_path, notices)

    def add_notice(self, text: str) -> None:
        """See `EngineUser`."""
        self.view.add_notice(text)

    def add_failure(self, message: str, hint: str) -> None:
        """See `EngineUser`."""
        self.view.add_failure(message, hint)

    # --- replying -----------------------------------------------------------------------------------------------

    def _open_answer(self) -> MakeRequest:
        """Opens an answer, or the last one again; returns what makes the request for it."""
        chat = self.chat
        if not chat.ends_in_answer:
            self.view.begin_answer(chat.begin_answer())
            return self.requests.reply
        self.requests.once = {}
        self.view.reopen_answer(chat.reopen_answer())
        return self.requests.continuation
