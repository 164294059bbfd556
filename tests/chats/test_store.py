"""Chats on disk: nothing committed is lost, whatever happens to the program."""

import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.fakes.stored_answers import answer
from tests.patience import HANG_SECONDS
from tui_llama.chat import Role
from tui_llama.chats.database.file import IN_MEMORY
from tui_llama.chats.store import Store
from tui_llama.chats.stored import MessageState
from tui_llama.errors import CallerError


def test_a_store_in_memory_writes_no_file_and_has_nothing_of_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Store(IN_MEMORY) as one, Store(IN_MEMORY) as other:
        assert one.is_in_memory
        chat_id = one.create_chat()
        question = one.add_user_message(chat_id, "a secret")
        first, second = answer(one, chat_id, question, "one"), answer(one, chat_id, question, "two")
        assert one.versions(first) == [first, second]
        assert other.list_chats() == []
    assert list(tmp_path.iterdir()) == []


def test_everything_is_there_after_reopening(path: Path) -> None:
    with Store(path) as store:
        chat_id = store.create_chat(title="Kept")
        answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "Hello"))
        store.set_answer_prompt(answer_id, 0, [1])
        store.append_to_answer(answer_id, "Hi", [2])
        before = (store.messages(chat_id), store.ledger(answer_id), store.list_chats())

    with Store(path) as store:
        assert (store.messages(chat_id), store.ledger(answer_id), store.list_chats()) == before


def test_preferences_are_remembered(path: Path) -> None:
    with Store(path) as store:
        assert store.preference("last_model") is None
        store.set_preference("last_model", "/models/a.gguf")
        store.set_preference("last_model", "/models/b.gguf")

    with Store(path) as store:
        assert store.preference("last_model") == "/models/b.gguf"


def test_a_closed_store_says_that_it_was_used_wrongly(path: Path) -> None:
    store = Store(path)
    store.close()
    store.close()

    with pytest.raises(CallerError, match="closed"):
        store.list_chats()


# --- the program dies ---

# Says what is committed after each commit, and goes on as fast as it can: the kill lands anywhere in the
# next step.
WRITER = """
import sys
from pathlib import Path
from tui_llama.chats.database.file import IN_MEMORY
from tui_llama.chats.store import Store

store = Store(Path(sys.argv[1]))
chat_id = store.create_chat()
print("chat", chat_id, flush=True)
for turn in range(1000):
    question = store.add_user_message(chat_id, f"question {turn}")
    print("question", turn, flush=True)
    answer_id = store.begin_answer(chat_id, question)
    print("answer", answer_id, flush=True)
    store.set_answer_prompt(answer_id, len(store.ledger(question).newest_ids), [turn, turn])
    for piece in range(7):
        store.append_to_answer(answer_id, f"{turn}.{piece} ", [100 + piece])
        print("piece", piece, flush=True)
    store.finish_answer(answer_id, "length", None)
    print("finished", answer_id, flush=True)
"""


def start(script: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True)


def said_before_death(path: Path, lines: int) -> list[list[str]]:
    """Kills a writer with SIGKILL after so many lines; returns all that it had said by then."""
    with start(WRITER, str(path)) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(lines)]
        writer.kill()
        said += writer.stdout.readlines()
        assert writer.wait() == -signal.SIGKILL
    return [line.split() for line in said if line.endswith("\n")]


@pytest.mark.parametrize("lines", [1, 2, 3, 4, 7, 11, 12, 23, *random.Random(1).sample(range(24, 120), 4)])
def test_nothing_committed_is_lost_when_the_program_is_killed(path: Path, lines: int) -> None:
    said = said_before_death(path, lines)
    chat_id = said[0][1]

    with Store(path) as store:
        partial = store.recover()
        messages = store.messages(chat_id)

        questions = [m.text for m in messages if m.role is Role.USER]
        spoken = [f"question {turn}" for kind, turn in said[1:] if kind == "question"]
        assert questions[: len(spoken)] == spoken
        assert len(questions) <= len(spoken) + 1
        pieces = sum(m.text.count(" ") for m in messages if m.role is Role.ASSISTANT)
        promised = sum(kind == "piece" for kind, _ in said)
        assert promised <= pieces <= promised + 1
        assert all(
            m.text == "".join(f"{turn}.{piece} " for piece in range(m.text.count(" ")))
            for turn, m in enumerate(m for m in messages if m.role is Role.ASSISTANT)
        )
        finished = [int(number) for kind, number in said if kind == "finished"]
        assert not set(finished) & set(partial)
        assert {m.state for m in messages} <= {MessageState.COMPLETE, MessageState.INTERRUPTED}
        answers = [m for m in messages if m.role is Role.ASSISTANT]
        if answers and answers[-1].text:
            tokens = [100 + piece for piece in range(answers[-1].text.count(" "))]
            assert store.ledger(answers[-1].message_id).newest_ids[-len(tokens) :] == tokens


# --- more than one at a time ---

HOLDER = """
import sys
from pathlib import Path
from tui_llama.chats.database.file import IN_MEMORY
from tui_llama.chats.store import Store

store = Store(Path(sys.argv[1]))
chat_id = store.create_chat()
answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, "Hello"))
print(answer_id, flush=True)
sys.stdin.read()
"""
CROWD = """
import sys
from pathlib import Path
from tui_llama.chats.database import connection
from tui_llama.chats.database.file import IN_MEMORY
from tui_llama.chats.store import Store

connection.BUSY_SECONDS = float(sys.argv[3])
sys.stdin.read()
with Store(Path(sys.argv[1])) as store:
    store.recover()
    chat_id = store.create_chat(title=sys.argv[2])
    for number in range(15):
        answer_id = store.begin_answer(chat_id, store.add_user_message(chat_id, f"{number}"))
        store.append_to_answer(answer_id, f"answer {number}", [])
        store.finish_answer(answer_id, "length", None)
        store.list_chats()
"""


def test_an_answer_that_another_program_writes_is_left_alone_until_that_dies(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        answer_id = int(holder.stdout.readline())
        with Store(path) as store:
            assert store.recover() == []

            holder.kill()
            holder.wait()

            assert store.recover() == [answer_id]


def test_several_programs_share_one_new_database(path: Path) -> None:
    crowd = [
        subprocess.Popen(
            [sys.executable, "-c", CROWD, str(path), f"chat {number}", str(HANG_SECONDS)], stdin=subprocess.PIPE
        )
        for number in range(4)
    ]
    for one in crowd:
        assert one.stdin is not None
        one.stdin.close()

    assert [one.wait() for one in crowd] == [0] * 4

    with Store(path) as store:
        assert {chat.title: chat.message_count for chat in store.list_chats()} == {
            f"chat {number}": 30 for number in range(4)
        }
        assert all(
            message.state is MessageState.COMPLETE
            for chat in store.list_chats()
            for message in store.messages(chat.chat_id)
        )


def test_threads_share_one_store(store: Store) -> None:
    chat_ids = [store.create_chat() for _ in range(4)]

    def talk(chat_id: str) -> None:
        for number in range(10):
            answer(store, chat_id, store.add_user_message(chat_id, f"{number}"), f"answer {number}")

    threads = [threading.Thread(target=talk, args=(chat_id,)) for chat_id in chat_ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for chat_id in chat_ids:
        assert [message.text for message in store.messages(chat_id)] == [
            text for number in range(10) for text in (f"{number}", f"answer {number}")
        ]
