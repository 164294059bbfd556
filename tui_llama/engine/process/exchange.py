"""Keeps the events that answer one request to the engine's process, until the screen takes them.

Waiting events are folded together, so they stay few however slow the screen is. Knows messages; nothing of processes.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from tui_llama.engine.events import IdlePrefillProgress, LoadProgress, PromptProgress, TextPiece
from tui_llama.engine.protocol import LAST_EVENTS, AnsweredRequest, Event, Request
from tui_llama.engine.requests import (
    AnswerNow,
    CancelRequest,
    CompleteRequest,
    EstimateRequest,
    IdlePrefillRequest,
    LoadRequest,
    ReplyRequest,
    StopIdlePrefill,
    TokenizeRequest,
)
from tui_llama.errors import EngineLostError

_MOST_WAITING_EVENTS = 256


class Answering(Protocol):
    """The side that answers a request: the engine's process, as the exchange sees it."""

    def send(self, request: Request) -> None:
        """Sends a request that is not answered."""
        ...

    def keep_notices(self, unseen: Iterable[Event]) -> None:
        """Keeps the notices among events that nobody has seen, for the next request."""
        ...


class Exchange:
    """One request and the events that answer it.

    Args:
        request: What is asked.
    """

    def __init__(self, request: AnsweredRequest) -> None:
        self.request = request
        self._events: deque[Event] = deque()
        self._lost: EngineLostError | None = None
        self._ended = False
        self._cancelled = False
        self._wants_answer = False
        self._abandoned = False
        self._changed = asyncio.Event()
        self._child: Answering | None = None

    @property
    def is_idle_prefill(self) -> bool:
        """True if the request is one of idle prefill, which gives way to any other request."""
        return isinstance(self.request, IdlePrefillRequest)

    @property
    def takes_notices(self) -> bool:
        """True if the caller will show notices. If not, they wait for the next request."""
        return not self._abandoned and not isinstance(self.request, EstimateRequest | TokenizeRequest)

    def attach(self, child: Answering) -> None:
        """Notes who answers; sends a cancel that came before."""
        self._child = child
        if self._cancelled:
            self._send_cancel(child)
        elif self._wants_answer:
            self._send_answer_now(child)

    def cancel(self) -> None:
        """Sends the cancel once; `attach` sends it if nobody answers yet."""
        if not self._cancelled and not self._ended and self._child is not None:
            self._send_cancel(self._child)
        self._cancelled = True

    def answer_now(self) -> None:
        """Sends the wish that a thought be closed, once; `attach` sends it if nobody answers yet."""
        if not self._wants_answer and not self._ended and self._child is not None:
            self._send_answer_now(self._child)
        self._wants_answer = True

    def _send_answer_now(self, child: Answering) -> None:
        if isinstance(self.request, ReplyRequest | CompleteRequest):
            child.send(AnswerNow(self.request.turn))

    def abandon(self) -> None:
        """Drops all events, those that wait and those to come; a waiting `next` returns None."""
        self._abandoned = True
        if self._child is not None:
            self._child.keep_notices(self._events)
        self._events.clear()
        self.cancel()
        self._changed.set()

    def _send_cancel(self, child: Answering) -> None:
        match self.request:
            case LoadRequest():
                child.send(CancelRequest(None))
            case ReplyRequest(turn=turn) | CompleteRequest(turn=turn):
                child.send(CancelRequest(turn))
            case IdlePrefillRequest():
                child.send(StopIdlePrefill())
            case EstimateRequest():
                pass  # it takes no longer than making a prompt

    def offer(self, event: Event) -> None:
        """Adds the next event; the last one of the request ends the exchange."""
        if isinstance(event, LAST_EVENTS):
            self._ended = True
        if not self._abandoned:
            self._events.append(event)
        if len(self._events) > _MOST_WAITING_EVENTS:
            self._events = _folded(self._events)
        self._changed.set()

    @property
    def ended(self) -> bool:
        """True once the last event has come."""
        return self._ended

    def lose(self, lost: EngineLostError) -> None:
        """Notes that the process ended; `next` raises `lost` once all events before are taken."""
        self._lost = lost
        self._changed.set()

    async def next(self) -> Event | None:
        """Waits for the next event; returns None after the last one, and once the exchange is abandoned.

        Raises:
            EngineLostError: the process ended before the last one.
        """
        while not self._events:
            if self._ended or self._abandoned:
                return None
            if self._lost is not None:
                raise self._lost
            self._changed.clear()
            await self._changed.wait()
        return self._events.popleft()


def _folded(events: deque[Event]) -> deque[Event]:
    """Returns events that say the same in fewer: the newest progress, neighbouring pieces joined."""
    folded: deque[Event] = deque()
    pieces: list[TextPiece] = []
    for event in events:
        if isinstance(event, TextPiece):
            pieces.append(event)
            continue
        if pieces:
            folded.append(_joined(pieces))
            pieces = []
        if folded and _supersedes(event, folded[-1]):
            folded.pop()
        folded.append(event)
    if pieces:
        folded.append(_joined(pieces))
    return folded


def _supersedes(newer: Event, older: Event) -> bool:
    if isinstance(newer, LoadProgress) and isinstance(older, LoadProgress):
        return newer.stage == older.stage
    if isinstance(newer, IdlePrefillProgress) and isinstance(older, IdlePrefillProgress):
        return True
    return isinstance(newer, PromptProgress) and isinstance(older, PromptProgress)


def _joined(pieces: list[TextPiece]) -> TextPiece:
    return TextPiece(
        pieces[0].turn,
        "".join(piece.text for piece in pieces),
        tuple(token for piece in pieces for token in piece.token_ids),
        tuple(probability for piece in pieces for probability in piece.probabilities),
        "".join(piece.thought for piece in pieces),
    )
