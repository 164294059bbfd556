"""The watchdog gives up a dead server, and never one that reads a long prompt."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.patience import HANG_SECONDS
from tui_llama.engine.events import FailureCause, Notice
from tui_llama.engine.remote.failures import RemoteEngineError
from tui_llama.engine.remote.patience import Patience
from tui_llama.engine.remote.watchdog import Sign, Watchdog

AT_ONCE = Patience(silence_seconds=0.001, answer_silence_seconds=0.004)


class Kennel:
    """A watchdog, the answers to its questions whether the server lives, and what it tells."""

    def __init__(self, answers: Iterator[Sign]) -> None:
        self.questions = 0
        self.asked = asyncio.Event()
        self.notices: list[str] = []
        self._answers = answers
        self.dog = Watchdog("box", AT_ONCE, self._ask, self._tell)

    async def _ask(self) -> Sign:
        self.questions += 1
        if self.questions > 20:
            self.asked.set()
        return next(self._answers)

    async def _tell(self, notice: Notice) -> None:
        self.notices.append(notice.text)


def always(answer: Sign) -> Iterator[Sign]:
    while True:
        yield answer


async def guarded(kennel: Kennel) -> None:
    async with asyncio.timeout(HANG_SECONDS):
        await kennel.dog.guard(kennel.asked.wait())


async def test_a_server_that_lives_is_waited_for_with_one_notice() -> None:
    kennel = Kennel(always(Sign.ANSWERS))
    await guarded(kennel)
    assert len(kennel.notices) == 1


async def test_a_server_that_does_not_answer_twice_is_dead() -> None:
    kennel = Kennel(iter([Sign.ANSWERS, Sign.IS_GONE, Sign.ANSWERS, Sign.IS_GONE, Sign.IS_GONE]))
    with pytest.raises(RemoteEngineError) as caught:
        await guarded(kennel)
    assert caught.value.cause is FailureCause.SILENT
    assert kennel.questions == 5


async def test_a_server_that_answers_one_question_at_a_time_may_read_for_as_long_as_it_likes() -> None:
    kennel = Kennel(always(Sign.SAYS_NOTHING))
    await guarded(kennel)
    assert len(kennel.notices) == 1


async def test_a_server_that_says_nothing_in_the_middle_of_an_answer_is_dead() -> None:
    kennel = Kennel(always(Sign.SAYS_NOTHING))
    kennel.dog.answer_begins()
    with pytest.raises(RemoteEngineError, match="another question"):
        await guarded(kennel)
    assert kennel.questions == 2


async def test_an_answer_may_not_pause_for_long() -> None:
    kennel = Kennel(always(Sign.ANSWERS))
    kennel.dog.answer_begins()
    with pytest.raises(RemoteEngineError, match="middle of the answer") as caught:
        await guarded(kennel)
    assert caught.value.cause is FailureCause.SILENT
    assert kennel.questions == 4
    assert not kennel.notices


async def test_nobody_is_asked_while_the_screen_is_behind() -> None:
    kennel = Kennel(always(Sign.IS_GONE))
    kennel.dog.heard()

    async def busy() -> str:
        await asyncio.sleep(20 * AT_ONCE.silence_seconds)
        return "done"

    assert await kennel.dog.guard(busy()) == "done"
    assert kennel.questions == 0


async def test_an_error_of_the_work_is_raised() -> None:
    async def fail() -> None:
        raise RemoteEngineError(FailureCause.CUT_OFF, "cut")

    with pytest.raises(RemoteEngineError, match="cut"):
        await Kennel(always(Sign.ANSWERS)).dog.guard(fail())


async def test_work_is_cancelled_with_its_guard() -> None:
    ended = asyncio.Event()
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.ensure_future(Kennel(always(Sign.ANSWERS)).dog.guard(work()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
