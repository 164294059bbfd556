"""The store beside a model of plain dictionaries: calls in any order, and the program ending at any moment."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tui_llama.chat import StopReason
from tui_llama.chats.store import Store


class StoreAgainstModel(RuleBasedStateMachine):
    """The store beside plain dictionaries, with the program ending at any moment."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(Path(self.folder.name) / "chats.sqlite3")
        self.chat_id = self.store.create_chat()
        self.parents: dict[int, int | None] = {}
        self.texts: dict[int, str] = {}
        self.ledgers: dict[int | None, list[int]] = {None: []}
        self.open_answer: int | None = None
        self.answers: list[int] = []
        self.tip: int | None = None

    def add(self, message_id: int, parent: int | None, text: str) -> None:
        self.parents[message_id], self.texts[message_id] = parent, text
        self.ledgers[message_id] = list(self.ledgers[parent])
        self.tip = message_id

    @rule(text=st.text(max_size=5))
    def speak(self, text: str) -> None:
        self.add(self.store.add_user_message(self.chat_id, text), self.tip, text)

    @precondition(lambda self: self.tip is not None and self.open_answer is None)
    @rule(data=st.data(), prompt=st.lists(st.integers(0, 9), max_size=4))
    def answer(self, data: st.DataObject, prompt: list[int]) -> None:
        assert self.tip is not None
        parent = self.tip
        self.open_answer = self.store.begin_answer(self.chat_id, parent)
        self.answers.append(self.open_answer)
        self.add(self.open_answer, parent, "")
        kept = data.draw(st.integers(0, len(self.ledgers[parent])))
        self.store.set_answer_prompt(self.open_answer, kept, prompt)
        self.ledgers[self.open_answer] = self.ledgers[parent][:kept] + prompt

    @precondition(lambda self: self.open_answer is not None)
    @rule(text=st.text(max_size=3), ids=st.lists(st.integers(0, 99), max_size=3))
    def grow(self, text: str, ids: list[int]) -> None:
        assert self.open_answer is not None
        # A message may already hang below the answer: it was added while the answer was being written.
        if self.open_answer in self.parents.values():
            return
        self.store.append_to_answer(self.open_answer, text, ids)
        self.texts[self.open_answer] += text
        self.ledgers[self.open_answer] += ids

    @precondition(lambda self: self.open_answer is not None)
    @rule()
    def leave_the_rest_to_a_server(self) -> None:
        assert self.open_answer is not None
        self.store.end_answer_tokens(self.open_answer)
        assert self.store.generated_token_count(self.open_answer) == 0
        assert self.store.ledger(self.open_answer).lacks_end == bool(self.texts[self.open_answer])

    @precondition(lambda self: self.open_answer is not None)
    @rule()
    def finish(self) -> None:
        assert self.open_answer is not None
        self.store.finish_answer(self.open_answer, StopReason.LENGTH, None)
        self.open_answer = None

    @precondition(lambda self: self.open_answer is None and bool(self.answers))
    @rule(data=st.data())
    def reopen(self, data: st.DataObject) -> None:
        answer_id = data.draw(st.sampled_from(self.answers))
        self.store.reopen_answer(answer_id)
        self.texts[answer_id] = self.texts[answer_id].rstrip("\ufffd")
        self.open_answer = answer_id

    @precondition(lambda self: bool(self.parents))
    @rule(data=st.data())
    def go_elsewhere(self, data: st.DataObject) -> None:
        self.tip = data.draw(st.sampled_from([None, *self.parents]))
        self.store.set_tip(self.chat_id, self.tip)

    @rule()
    def come_back(self) -> None:
        path = self.store.path
        self.store.close()
        self.store = Store(path)
        assert self.store.recover() == ([] if self.open_answer is None else [self.open_answer])
        self.open_answer = None

    @rule()
    def compare(self) -> None:
        expected = []
        message_id = self.tip
        while message_id is not None:
            expected.append((message_id, self.texts[message_id]))
            message_id = self.parents[message_id]
        seen = [(message.message_id, message.text) for message in self.store.messages(self.chat_id)]
        assert seen == expected[::-1]
        if self.tip is not None:
            assert self.store.ledger(self.tip).newest_ids == self.ledgers[self.tip]

    def teardown(self) -> None:
        self.compare()
        self.store.close()
        self.folder.cleanup()


StoreAgainstModel.TestCase.settings = settings(max_examples=25, stateful_step_count=25)
TestStoreAgainstModel = StoreAgainstModel.TestCase
