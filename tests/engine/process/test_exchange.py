"""An exchange keeps what nobody has taken yet, stops who answers, and hands on notices that nobody saw."""

import asyncio
from collections.abc import Iterable

import pytest

from tui_llama.chat import StopReason, Usage
from tui_llama.engine.events import Finished, Notice, PromptProgress, TextPiece, TokenProbability
from tui_llama.engine.process.exchange import Exchange
from tui_llama.engine.protocol import AnsweredRequest, Event, Request
from tui_llama.engine.requests import (
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

FINISHED = Finished(1, StopReason.LENGTH, Usage())


class Answerer:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.sent: list[Request] = []
        self.kept: list[Event] = []

    def send(self, request: Request) -> None:
        self.sent.append(request)

    def keep_notices(self, unseen: Iterable[Event]) -> None:
        self.kept += [event for event in unseen if isinstance(event, Notice)]


async def rest_of(exchange: Exchange) -> list[Event]:
    events: list[Event] = []
    while (event := await exchange.next()) is not None:
        events.append(event)
    return events


async def test_events_come_in_order_up_to_the_last() -> None:
    exchange = Exchange(ReplyRequest(1, ()))
    events: list[Event] = [Notice("one"), TextPiece(1, "a", (1,)), FINISHED]
    for event in events:
        exchange.offer(event)
    assert exchange.ended
    assert await rest_of(exchange) == events


async def test_many_events_that_nobody_takes_are_folded_and_say_the_same() -> None:
    exchange = Exchange(ReplyRequest(1, ()))
    for done in range(200):
        exchange.offer(PromptProgress(1, 0, done, 200))
    exchange.offer(Notice("between"))
    for number in range(1000):
        exchange.offer(TextPiece(1, str(number), (number,), (TokenProbability(b"x", -1.0, number),)))
    exchange.offer(FINISHED)
    events = await rest_of(exchange)
    assert len(events) < 300
    pieces = [event for event in events if isinstance(event, TextPiece)]
    assert "".join(piece.text for piece in pieces) == "".join(map(str, range(1000)))
    assert [token_id for piece in pieces for token_id in piece.token_ids] == list(range(1000))
    assert [each.token_id for piece in pieces for each in piece.probabilities] == list(range(1000))
    assert events[:2] == [PromptProgress(1, 0, 199, 200), Notice("between")]
    assert events[-1] == FINISHED


@pytest.mark.parametrize(
    ("request_sent", "stop"),
    [
        (LoadRequest("model"), CancelRequest(None)),
        (ReplyRequest(3, ()), CancelRequest(3)),
        (CompleteRequest(4, "text"), CancelRequest(4)),
        (IdlePrefillRequest(()), StopIdlePrefill()),
        (EstimateRequest(()), None),
    ],
)
@pytest.mark.parametrize("is_early", [False, True])
async def test_a_cancel_is_sent_once_also_when_it_came_before_anybody_answers(
    request_sent: AnsweredRequest, stop: Request | None, is_early: bool
) -> None:
    exchange, answerer = Exchange(request_sent), Answerer()
    if is_early:
        exchange.cancel()
    exchange.attach(answerer)
    exchange.cancel()
    exchange.cancel()
    assert answerer.sent == ([] if stop is None else [stop])


async def test_an_exchange_that_ended_is_not_cancelled() -> None:
    exchange, answerer = Exchange(ReplyRequest(1, ())), Answerer()
    exchange.attach(answerer)
    exchange.offer(FINISHED)
    exchange.cancel()
    assert answerer.sent == []


async def test_notices_of_an_abandoned_exchange_are_kept_for_another() -> None:
    exchange, answerer = Exchange(ReplyRequest(1, ())), Answerer()
    exchange.attach(answerer)
    waiting = asyncio.create_task(exchange.next())
    exchange.offer(TextPiece(1, "a", (1,)))
    assert await waiting == TextPiece(1, "a", (1,))
    exchange.offer(Notice("unseen"))
    exchange.abandon()
    exchange.offer(TextPiece(1, "b", (2,)))
    assert answerer.kept == [Notice("unseen")]
    assert await exchange.next() is None
    assert not exchange.takes_notices


@pytest.mark.parametrize("request_", [EstimateRequest(()), TokenizeRequest("a")], ids=["estimate", "tokens"])
async def test_a_question_with_one_answer_leaves_notices_to_the_next_request(request_: AnsweredRequest) -> None:
    assert not Exchange(request_).takes_notices
    assert Exchange(ReplyRequest(1, ())).takes_notices


async def test_a_loss_is_raised_after_the_events_before_it() -> None:
    exchange = Exchange(ReplyRequest(1, ()))
    exchange.offer(Notice("before"))
    exchange.lose(EngineLostError("the engine's process ended"))
    assert await exchange.next() == Notice("before")
    with pytest.raises(EngineLostError, match="ended"):
        await exchange.next()
