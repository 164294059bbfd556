"""One reply of the engine, from the request to the end: what the engine reports becomes events of the turn machine."""

from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Protocol, TypeAlias

from tui_llama import conversation
from tui_llama.chat import StopReason, Usage
from tui_llama.chats.open_chat import OpenChat
from tui_llama.conversation import State
from tui_llama.engine import events
from tui_llama.engine.events import FailureCause
from tui_llama.engine.protocol import ReplyEvent
from tui_llama.engine.requests import CompleteRequest, ReplyRequest
from tui_llama.errors import EngineLostError, IllegalTransitionError, UserError
from tui_llama.turn.engine_host import NO_END, EngineHost
from tui_llama.turn.meter import TurnMeter
from tui_llama.turn.view import TurnView

MakeRequest: TypeAlias = Callable[[int, OpenChat], Awaitable[ReplyRequest | CompleteRequest]]

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


class ReplyUser(Protocol):
    """The driver of a chat, as its reply knows it."""

    @property
    def chat(self) -> OpenChat:
        """The chat that is answered in."""
        ...

    @property
    def meter(self) -> TurnMeter:
        """The figures of the turn."""
        ...

    @property
    def view(self) -> TurnView:
        """Shows the turn."""
        ...

    @property
    def state(self) -> State:
        """The state of the conversation."""
        ...

    @property
    def answer_is_open(self) -> bool:
        """True while the last message is an answer that grows."""
        ...

    def dispatch(self, event: conversation.Event) -> None:
        """Tells the chat's machine, does what it says, and shows the state."""
        ...

    def advance(self, event: conversation.Event) -> None:
        """As `dispatch`, for what comes too often for all of the state to be shown."""
        ...

    def tell(self, notice: str, *, is_lasting: bool = False) -> None:
        """Shows a notice; one that lasts, once for each model."""
        ...

    def tell_what_is_left_out(self, message_count: int) -> None:
        """Says how many messages do not fit into the prompt, if it changes."""
        ...


class Reply:
    """The reply of one turn; what becomes of it are events of its number.

    Args:
        number: The number of the turn.
        host: Has the engine.
        user: Takes the events.
        make_request: Makes the request.
    """

    def __init__(self, number: int, host: EngineHost, user: ReplyUser, make_request: MakeRequest) -> None:
        self._number = number
        self._host = host
        self._user = user
        self._make_request = make_request

    async def run(self) -> None:
        """Asks for the answer, and returns when nothing more comes of it."""
        number, user = self._number, self._user
        async with self._host.is_free:
            try:
                request = await self._make_request(number, user.chat)
                if user.state is not State.READING:
                    # Stopped before the engine was asked.
                    user.dispatch(conversation.ReplyFinished(number, StopReason.STOPPED, Usage()))
                    return
                user.meter.note_asked(monotonic())
                async for event in self._host.engine.reply(request):
                    self._take(event)
                if user.answer_is_open:
                    user.dispatch(conversation.ReplyFailed(number, NO_END))
            except EngineLostError as error:
                user.dispatch(conversation.EngineLostInTurn(number, str(error), error.hint))
            except UserError as error:
                user.dispatch(conversation.ReplyFailed(number, str(error), error.hint))
            except IllegalTransitionError as error:
                self._host.cancel()
                user.dispatch(conversation.ReplyFailed(number, f"The engine got out of step: {error}."))

    def _take(self, event: ReplyEvent) -> None:
        number, user = self._number, self._user
        match event:
            case events.PromptEncoded():
                self._take_prompt(event)
            case events.GrammarProgress(done=done, total=total):
                user.meter.note_grammar(done, total)
                user.view.show_figures()
            case events.PromptProgress(reused_tokens=reused, done_tokens=done, total_tokens=total, reread_cause=cause):
                user.meter.note_prompt(reused, done, total, monotonic(), cause)
                user.advance(conversation.PromptAdvanced(number))
                user.view.show_figures()
            case events.TextPiece(text=text, token_ids=token_ids, thought=thought):
                was_answering = user.state is State.ANSWERING
                user.advance(conversation.TextArrived(number, text, token_ids, thought))
                user.view.show_figures() if was_answering else user.view.show_state()
            case events.Notice(text=text, is_lasting=is_lasting):
                user.tell(text, is_lasting=is_lasting)
            case events.Finished(stop_reason=reason, usage=usage):
                user.dispatch(conversation.ReplyFinished(number, reason, usage))
            case events.Failed(message=message, hint=hint, cause=cause):
                user.dispatch(REPLY_FAILURES[cause](number, message, hint))

    def _take_prompt(self, event: events.PromptEncoded) -> None:
        kept, token_ids, vocabulary = event.kept_tokens, event.token_ids, event.vocabulary
        chat = self._user.chat
        if event.answer_tokens is not None:
            chat.set_answer_tokens(kept, token_ids, vocabulary, event.answer_tokens)
        elif not chat.has_prompt:
            chat.set_prompt(kept, token_ids, vocabulary)
        else:  # an answer that goes on has had its prompt
            return
        self._user.tell_what_is_left_out(event.left_out_messages)
