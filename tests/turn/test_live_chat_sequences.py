"""Several chats with one engine, driven at random: no answer comes to another chat, and the store has what is shown."""

import asyncio
from collections.abc import Callable, Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.chat_app import MODEL, spoken
from tests.scale import scaled
from tests.turn.test_driver import OTHER_MODEL, Driven
from tui_llama import conversation as c
from tui_llama.chat import Role
from tui_llama.chats.database.file import IN_MEMORY
from tui_llama.chats.journal import Journal
from tui_llama.chats.store import Store
from tui_llama.engine.events import Failed, ModelLoaded
from tui_llama.engine.requests import CompleteRequest, LoadRequest, ReplyRequest
from tui_llama.engine.scripted import Gate, Loss, ScriptedEngine, Step, demo_model
from tui_llama.turn.driver import TurnDriver

ENDINGS = ("whole", "at a gate", "failed", "lost", "without end")


class Played:
    """Chats whose answers repeat the question, which begins with the number of the chat, and end as they are told."""

    def __init__(self) -> None:
        self.gates: list[Gate] = []
        self.ending = "whole"
        self.failures: list[Exception] = []
        self.store = Store(IN_MEMORY)
        self.engine = ScriptedEngine(load=self._load, replies=self._reply)
        self.it = Driven(self.engine, Journal(self.store, self.failures.append))
        self.numbers: dict[TurnDriver, str] = {}
        self.said = 0

    def _gate(self) -> Gate:
        self.gates.append(Gate())
        return self.gates[-1]

    def _load(self, request: LoadRequest) -> Iterable[Step]:
        if self.ending == "failed":
            return [Failed(None, "no model")]
        loaded = ModelLoaded(demo_model(request.model_path))
        return [self._gate(), loaded] if self.ending == "at a gate" else [loaded]

    def _reply(self, request: ReplyRequest | CompleteRequest) -> Iterable[Step]:
        asked = [message.text for message in request.messages if message.role is Role.USER]
        steps = spoken(f"to {asked[-1]};" if asked else "more;", " words")
        ends: dict[str, list[Step]] = {
            "at a gate": [self._gate(), *steps[2:]] if self.ending == "at a gate" else [],
            "failed": [Failed(0, "no memory")],
            "lost": [Loss()],
            "without end": [],
        }
        return [*steps[:2], *ends.get(self.ending, steps[2:])]

    def number(self, driver: TurnDriver) -> str:
        return self.numbers.setdefault(driver, f"chat {len(self.numbers)}")

    def new_text(self, driver: TurnDriver) -> str:
        self.said += 1
        return f"{self.number(driver)}: {self.said}"

    # --- what happens ---------------------------------------------------------------------------------------------

    def send(self, driver: TurnDriver, _choice: int) -> None:
        driver.wish(c.SendMessage(self.new_text(driver)))

    def wish(self, make: Callable[[], c.Event]) -> Callable[[TurnDriver, int], None]:
        def do(driver: TurnDriver, _choice: int) -> None:
            if not driver.chat.is_empty:
                driver.wish(make())

        return do

    def go_on(self, driver: TurnDriver, _choice: int) -> None:
        if driver.chat.ends_in_answer and driver.chat.has_prompt and driver.chat.end:
            driver.wish(c.Continue())

    def change(self, driver: TurnDriver, choice: int) -> None:
        entries = driver.chat.entries
        if not entries:
            return
        position = choice % len(entries)
        if entries[position].role is Role.USER:
            driver.wish(c.EditMessage(position, self.new_text(driver)))
        else:
            driver.wish(c.EditAnswer(position, f"{entries[position].text}!"))

    def cut(self, driver: TurnDriver, choice: int) -> None:
        if driver.chat.entries:
            position = choice % len(driver.chat.entries)
            driver.wish(c.DeleteMessage(position) if choice % 2 else c.Branch(position))

    def open(self, _driver: TurnDriver, _choice: int) -> None:
        if len(list(self.it.chats)) < 4:
            self.it.open_chat()

    def show(self, driver: TurnDriver, _choice: int) -> None:
        chats = self.it.chats
        chats.bring_to_front(driver)
        if not chats.is_drawn:
            chats.draw_on_screen(answer_was_open=driver.answer_is_open)

    def load(self, _driver: TurnDriver, choice: int) -> None:
        async def load() -> None:
            async with self.it.chats.engine_cleared():
                self.it.driver.wish(c.LoadModel((MODEL, OTHER_MODEL)[choice % 2]))

        self.it._spawn(load, "load another")

    def lose(self, _driver: TurnDriver, _choice: int) -> None:
        if not self.it.chats.host.is_answering:
            self.engine.is_alive = False

    def end(self, driver: TurnDriver, _choice: int) -> None:
        if driver is not self.it.chats.shown:
            self.it._spawn(lambda: self.it.chats.end(driver), "end")

    def change_queue(self, driver: TurnDriver, choice: int) -> None:
        driver.wish(c.ChangeQueue(choice % 3, (None, 0, 1)[choice % 3]))

    def open_gate(self, _driver: TurnDriver, choice: int) -> None:
        if self.gates:
            self.gates.pop(choice % len(self.gates)).open()

    def next_ends(self, _driver: TurnDriver, choice: int) -> None:
        self.ending = ENDINGS[choice % len(ENDINGS)]

    @property
    def steps(self) -> dict[str, Callable[[TurnDriver, int], None]]:
        return {
            "send": self.send,
            "stop": self.wish(c.Stop),
            "take back": self.wish(c.TakeBack),
            "change queue": self.change_queue,
            "regenerate": self.wish(c.Regenerate),
            "retry": self.wish(c.Retry),
            "undo": self.wish(c.Undo),
            "continue": self.go_on,
            "change": self.change,
            "cut": self.cut,
            "open": self.open,
            "show": self.show,
            "load": self.load,
            "lose": self.lose,
            "end": self.end,
            "open gate": self.open_gate,
            "next ends": self.next_ends,
            "wait": lambda _driver, _choice: None,
        }

    # --- what must hold -------------------------------------------------------------------------------------------

    def check(self) -> None:
        assert sum(driver.answer_is_open for driver in self.it.chats) <= 1
        for driver in self.it.chats:
            for entry in driver.chat.entries:
                answered = entry.text.removeprefix("to ")
                assert not answered.startswith("chat ") or answered.startswith(f"{self.number(driver)}:")
        for task in self.it.tasks:
            if task.done():
                task.result()

    async def finish(self, *, quits: bool) -> None:
        if quits:
            self.it.chats.quit()
        while any(not task.done() for task in self.it.tasks):
            for gate in self.gates:
                gate.open()
            await asyncio.sleep(0)
        self.check()
        for driver in self.it.chats:
            chat_id, shown = driver.chat.chat_id, [entry.text for entry in driver.chat.entries]
            if chat_id is not None:
                await self.it.journal.settle()
                assert [message.text for message in self.store.messages(chat_id)] == shown
        await self.it.chats.close()
        await self.it.journal.close()
        self.store.close()
        assert self.failures == []


STEPS = st.lists(st.tuples(st.sampled_from(sorted(Played().steps)), st.integers(0, 11)), max_size=40)


async def play(sequence: list[tuple[str, int]], *, quits: bool) -> None:
    played = Played()
    played.it.driver.dispatch(c.LoadModel(MODEL))
    for what, choice in sequence:
        drivers = list(played.it.chats)
        played.steps[what](drivers[choice % len(drivers)], choice)
        for _ in range(choice if what == "wait" else 1):
            await asyncio.sleep(0)
        played.check()
    await played.finish(quits=quits)


@settings(deadline=None, max_examples=scaled(50, 500))
@given(STEPS, st.booleans())
def test_in_any_sequence_every_chat_has_its_own_answers_and_the_store_has_what_is_shown(
    sequence: list[tuple[str, int]], quits: bool
) -> None:
    asyncio.run(play(sequence, quits=quits))
