"""The answer at the end of a path while it is written: begun, fed, grown, finished, opened again to go on."""

from collections.abc import Callable

import msgspec

from tui_llama.chat import Role, StopReason, Usage
from tui_llama.chats.database.moments import new_moment
from tui_llama.chats.entry import Entry
from tui_llama.chats.journal import Journal
from tui_llama.chats.ledger import UNKNOWN_VOCABULARY, Ledger
from tui_llama.chats.path.path import ChatPath
from tui_llama.chats.record import ChatRecord, IdThere
from tui_llama.chats.store import Store
from tui_llama.chats.stored_text import DAMAGED_CHARACTER
from tui_llama.errors import StoreConflictError, StoreError


class AnsweredPath(ChatPath):
    """A path whose last answer may be open. What arrives of it is gathered, and written by `flush`."""

    def __init__(
        self, journal: Journal, *, model_path: str = "", system_prompt: str = "", record: ChatRecord | None = None
    ) -> None:
        super().__init__(journal, model_path=model_path, system_prompt=system_prompt, record=record)
        self._unsaved_text: list[str] = []
        self._unsaved_thought: list[str] = []
        self._unsaved_ids: list[int] = []
        self._piece_count = 0
        self._ending_before: tuple[StopReason, Usage | None] | None = None
        self._usage_before: Usage | None = None
        self._begun_once = ""
        self._refusal: StoreError | None = None
        """Why the open answer, which was to go on, is not open on the disk; known when the journal is settled."""

    def begin_answer(self) -> Entry:
        """Begins an answer to the last message; its text begins as the chat's answers are to begin."""
        chat_id, question, made_at, text = self._record.chat_id, self.entries[-1], new_moment(), self.reply_start
        self._piece_count, self._begun_once = 0, self.next_reply_start
        if (bounds := self._take_next_bounds()) is not None:
            self.bind_question(bounds)

        def change(store: Store, id_there: IdThere) -> int:
            return store.begin_answer(chat_id, id_there(question.message_id), text, made_at=made_at)

        entry = self._placed(Entry(Role.ASSISTANT, text, self._made(change)))
        self.entries.append(entry)
        return entry

    @property
    def has_prompt(self) -> bool:
        """True if the prompt of the last answer is known, and so its tokens; false for an answer of a server."""
        return self.entries[-1].prompt_is_known

    def reopen_answer(self) -> Entry:
        """Opens the last answer, which was cut off, so that it can go on."""
        entry, self._begun_once = self.entries[-1], ""
        entry.text = shown = entry.text.rstrip(DAMAGED_CHARACTER)
        if not shown:
            entry.thought = entry.thought.rstrip(DAMAGED_CHARACTER)
        if entry.stop_reason is not None:
            self._ending_before = entry.stop_reason, entry.usage
        self._usage_before = entry.usage
        entry.may_repeat = entry.may_repeat or entry.stop_reason is StopReason.LOOP  # seen, and more of it wanted
        entry.stop_reason, entry.is_interrupted = None, False
        self._piece_count = 0

        def change(store: Store, id_there: IdThere) -> None:
            try:
                store.reopen_answer(id_there(entry.message_id), shown)
            except StoreConflictError as error:
                self._refusal = error  # and nothing is written to it: another program may be writing it

        self._record.change(change)
        return entry

    async def ledger_to_go_on(self) -> tuple[Ledger, int]:
        """Returns the tokens fed up to where the last answer was cut off, and how many of them are the answer's own.

        Raises:
            StoreError: the disk did not let the answer be opened again.
        """
        await self._journal.settle()
        if self._refusal is not None:
            raise self._refusal
        message_id = self.entries[-1].message_id
        ledger = await self._read(lambda memory: memory.ledger(message_id))
        return ledger, await self._read(lambda memory: memory.generated_token_count(message_id))

    def set_prompt(self, kept_tokens: int, token_ids: tuple[int, ...], vocabulary: str = UNKNOWN_VOCABULARY) -> None:
        """Records the prompt of the open answer, as tokens of this vocabulary."""
        self._change_answer(lambda store, answer: store.set_answer_prompt(answer, kept_tokens, token_ids, vocabulary))
        self.entries[-1].prompt_is_known = True

    def set_answer_tokens(
        self, kept_tokens: int, token_ids: tuple[int, ...], vocabulary: str, answer_tokens: int
    ) -> None:
        """Records new tokens of the open answer, which was tokenised again for a model of this vocabulary."""
        self._change_answer(
            lambda store, answer: store.set_answer_tokens(answer, kept_tokens, token_ids, vocabulary, answer_tokens)
        )
        self.entries[-1].prompt_is_known = True

    def end_answer_tokens(self) -> None:
        """Records that the open answer goes on without tokens: a server writes the rest of it."""
        self._change_answer(lambda store, answer: store.end_answer_tokens(answer))
        self.entries[-1].prompt_is_known = False

    def append(self, text: str, token_ids: tuple[int, ...], thought: str = "") -> None:
        """Adds text to the open answer, and to the thought before it; the next `flush` writes both."""
        self._ending_before = None
        self.entries[-1].text += text
        self.entries[-1].thought += thought
        self._unsaved_text.append(text)
        self._unsaved_thought.append(thought)
        self._unsaved_ids.extend(token_ids)

    def flush(self) -> None:
        """Writes what was appended since the last time."""
        if not self._unsaved_text:
            return
        piece_number = self._piece_count
        text, token_ids = "".join(self._unsaved_text), tuple(self._unsaved_ids) if self.has_prompt else ()
        thought = "".join(self._unsaved_thought)
        self._unsaved_text, self._unsaved_thought, self._unsaved_ids = [], [], []
        self._piece_count += 1
        self._change_answer(
            lambda store, answer: store.append_to_answer(
                answer, text, token_ids, piece_number=piece_number, thought=thought
            )
        )

    def _change_answer(self, change: Callable[[Store, int], None]) -> None:
        """Makes a change of the open answer, whose id in the store it is given."""
        message_id = self.entries[-1].message_id
        self._record.change(lambda store, id_there: change(store, id_there(message_id)), self._require_open)

    def _require_open(self) -> bool:
        """Raises why the answer could not be opened again, where that was not known before it went on."""
        if self._refusal is not None:
            raise self._refusal
        return True

    def finish_answer(self, stop_reason: StopReason, usage: Usage | None) -> Entry:
        """Ends the open answer. An answer that was to go on, but got no more text, ends as it had ended before."""
        self.flush()
        entry = self.entries[-1]
        before, self._ending_before = self._ending_before, None
        if before is not None and stop_reason in (StopReason.STOPPED, StopReason.FAILED):
            stop_reason, usage = before
        else:
            usage = _with_thought_of(self._usage_before, usage)
        self._usage_before = None
        entry.stop_reason, entry.usage = stop_reason, usage
        # One that was given meanwhile is for the next answer, and an answer that failed is asked for again as it was.
        if stop_reason is not StopReason.FAILED and self.next_reply_start == self._begun_once:
            self.next_reply_start = ""

        def change(store: Store, id_there: IdThere) -> None:
            store.finish_answer(id_there(entry.message_id), stop_reason, usage)

        self._record.change(change, self._is_open_there)
        return entry

    def _is_open_there(self) -> bool:
        refusal, self._refusal = self._refusal, None
        return refusal is None


def _with_thought_of(before: Usage | None, usage: Usage | None) -> Usage | None:
    """Returns the cost of an answer that went on, with that of the thought before it was cut off."""
    if before is None or usage is None or not before.thought_tokens:
        return usage
    return msgspec.structs.replace(
        usage,
        thought_tokens=before.thought_tokens + usage.thought_tokens,
        thought_seconds=before.thought_seconds + usage.thought_seconds,
    )
