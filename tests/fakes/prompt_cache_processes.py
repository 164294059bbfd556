"""Runs processes that save turns until they are killed, or side by side in one chat. Prints the result as JSON.

    python -m tests.fakes.prompt_cache_processes kill FOLDER KILLS SEED
    python -m tests.fakes.prompt_cache_processes share FOLDER PROCESSES TURNS KILLS

This is a program of its own because it forks, and the process of the tests may have threads.
"""

import json
import os
import random
import select
import signal
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Final, TextIO

from tests.fakes.stored_prompts import OWNER, TOKEN_BYTES, cache_on, sequence_of
from tests.patience import HANG_SECONDS
from tui_llama.chat import StopReason
from tui_llama.chats.store import Store
from tui_llama.engine.prompt_cache import segment_reader
from tui_llama.engine.prompt_cache.eviction import make_room, remove_owner
from tui_llama.files.storage import DiskStorage

BUDGET_BYTES: Final = 400 * TOKEN_BYTES * 20
MOST_LINES: Final = 12
"""The most lines that are read from a process before it is killed: about four turns."""

MOST_STEP_SECONDS: Final = 0.01
"""About the time of one step. The kill comes anywhere in the step after the last line that was read."""


def answer_of(chat_id: str, question: str) -> list[int]:
    """Returns the tokens of an answer, which depend on the chat and the question."""
    chance = random.Random(zlib.crc32(f"{chat_id} {question}".encode()))
    return [chance.randrange(250) for _ in range(chance.choice([5, 64, 130]))]


def is_right(folder: Path, token_ids: list[int]) -> int:
    """Returns how many of the tokens another program finds. Fails if their keys and values are wrong."""
    sequence = sequence_of([])
    outcome = cache_on(folder, BUDGET_BYTES).restore(sequence, token_ids)
    assert outcome.problems == (), outcome
    assert sequence.token_ids == token_ids[: outcome.tokens]
    expected = sequence_of(token_ids[: outcome.tokens])
    assert sequence.kv(0, 0, outcome.tokens).tobytes() == expected.kv(0, 0, outcome.tokens).tobytes()
    return outcome.tokens


def say(pipe: int, *words: object) -> None:
    """Writes the words as a line to a pipe."""
    os.write(pipe, (" ".join(map(str, words)) + "\n").encode())


def forked(work: Callable[[int], None]) -> tuple[int, TextIO]:
    """Forks a child that runs `work` with the writing end of a pipe. Returns its process id and the reading end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, os.fdopen(reading)
    status = 1
    try:
        os.close(reading)
        work(writing)
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def killed_at_work(child: int, lines: TextIO, first: int, chance: random.Random) -> list[list[str]]:
    """Kills an endless child after it has written `first` lines or some more. Returns all lines that it has written."""
    heard = [lines.readline() for _ in range(chance.randrange(first, MOST_LINES))]
    # The kill may come at any moment after the child's line, and every moment is right. A busy machine that makes this
    # pause longer only moves the place of the kill.
    time.sleep(chance.random() * MOST_STEP_SECONDS)
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with lines:
        return [line.split() for line in (*heard, *lines) if line.endswith("\n")]


# --- killed ---------------------------------------------------------------------------------------------------------


def save_turns(folder: Path, seed: int, pipe: int) -> None:
    """Saves turns as the program does, the transcript first, and writes what is committed. Only a kill ends it."""
    chance, prompts = random.Random(seed), folder / "prompts"
    with Store(folder / "chats.sqlite3") as store:
        store.recover()
        cache = cache_on(prompts, BUDGET_BYTES)
        for number in count():
            say(pipe, "beginning", number)
            chats = [chat.chat_id for chat in store.list_chats()]
            chat_id = chance.choice(chats) if len(chats) > 5 else store.create_chat(title="a chat")
            question = store.add_user_message(chat_id, f"{seed} {number}")
            answer = store.begin_answer(chat_id, question)
            past = store.ledger(question).newest_ids
            store.set_answer_prompt(answer, len(past), [1, 2, number % 250])
            store.append_to_answer(answer, f"to {question}", answer_of(chat_id, str(question)))
            store.finish_answer(answer, StopReason.END_OF_GENERATION, None)
            say(pipe, "committed", chat_id, question, answer)
            outcome = cache.save(bytes.fromhex(chat_id), sequence_of(store.ledger(answer).newest_ids))
            # A chat may grow larger than the budget of stored prompts.
            assert outcome.problems in ((), ("the disk quota is used up",)), outcome
            if outcome.tokens:
                say(pipe, "saved", chat_id, answer)
            if chance.random() < 0.1:
                make_room(DiskStorage(prompts), 0, chance.randrange(BUDGET_BYTES), {})
            if chance.random() < 0.1:
                say(pipe, "deleting", chat_id)
                store.delete_chat(chat_id)
                remove_owner(DiskStorage(prompts), bytes.fromhex(chat_id))


def kill_savers(folder: Path, kills: int, seed: int) -> dict[str, int]:
    """Kills one child after the other, at random places of its work, and checks the files that each has left.

    Returns:
        The counts of kills, of turns begun, committed, saved and lost, and of tokens that were found again.
    """
    chance, counts = random.Random(seed), Counter[str]()
    expected: dict[int, tuple[str, int]] = {}
    for number in range(kills):
        child, lines = forked(lambda pipe, number=number: save_turns(folder, seed + number, pipe))  # type: ignore[misc]
        for word, *words in killed_at_work(child, lines, 1, chance):
            counts[word] += 1
            if word == "committed":
                expected[int(words[2])] = words[0], int(words[1])
            elif word == "deleting":
                expected = {answer: turn for answer, turn in expected.items() if turn[0] != words[0]}
        counts["kills"] += 1
        check_all = number % 50 == 49 or number == kills - 1
        _look_at(folder, expected if check_all else dict(list(expected.items())[-3:]), counts)
    return dict(counts)


def _look_at(folder: Path, expected: dict[int, tuple[str, int]], counts: Counter[str]) -> None:
    with Store(folder / "chats.sqlite3") as store:
        store.recover()
        known = {chat.chat_id for chat in store.list_chats(2**31)}
        for answer, (chat_id, question) in expected.items():
            messages = store.messages(chat_id, answer) if chat_id in known else []
            is_there = bool(messages) and messages[-1].text == f"to {question}"
            ledger = store.ledger(answer).newest_ids if is_there else []
            is_whole = ledger[-len(answer_of(chat_id, str(question))) :] == answer_of(chat_id, str(question))
            counts["lost"] += not (is_there and is_whole)
            counts["found_tokens"] += is_right(folder / "prompts", ledger) if ledger else 0


# --- side by side ---------------------------------------------------------------------------------------------------


def take_turns(folder: Path, seed: int, turns: int, end: int, pipe: int) -> None:
    """Restores and saves turns that all processes share: at least `turns` of them, and until the pipe `end` has ended.

    Writes each turn, and at the end the counts of all turns.
    """
    chance, cache = random.Random(seed), cache_on(folder, BUDGET_BYTES)
    counts, problems = Counter(wrong=0), Counter[str]()
    while counts["turns"] < turns or not select.select([end], [], [], 0)[0]:
        # There are few different turns, so that all processes use the same segments at the same time.
        token_ids = [
            token_id
            for _ in range(chance.randrange(1, 7))
            for token_id in answer_of("shared", str(chance.randrange(3)))
        ]
        sequence = sequence_of(token_ids[: chance.randrange(len(token_ids))])
        restored = cache.restore(sequence, token_ids)
        expected = sequence_of(token_ids[: restored.tokens])
        if (
            sequence.token_ids != expected.token_ids
            or sequence.kv(0, 0, restored.tokens).tobytes() != expected.kv(0, 0, restored.tokens).tobytes()
        ):
            counts["wrong"] += 1
            # Reported at once, because a killed process reports nothing.
            print(f"process {seed}: {restored.tokens} tokens were restored, not all as computed", file=sys.stderr)
        sequence.extend(token_ids[restored.tokens :])
        saved = cache.save(OWNER, sequence)
        counts["turns"] += 1
        counts["restored_tokens"] += restored.tokens
        counts["saved_tokens"] += saved.tokens
        problems.update((*restored.problems, *saved.problems))
        if chance.random() < 0.02:
            make_room(DiskStorage(folder), 0, chance.randrange(BUDGET_BYTES), {})
        say(pipe, "turn", counts["turns"])
    say(pipe, json.dumps({"problems": dict(problems), **counts}))


def share(folder: Path, processes: int, turns: int, kills: int) -> dict[str, object]:
    """Lets some processes take at least `turns` turns each in one chat. Returns the sums of their counts.

    `kills` of them are killed one after the other, and a new process replaces each. The counts are those of the
    processes that live to the end. The others report errors on standard error.
    """
    chance = random.Random(0)
    end, held = os.pipe()

    def begin(seed: int) -> tuple[int, TextIO]:
        def work(pipe: int) -> None:
            os.close(held)
            take_turns(folder, seed, turns, end, pipe)

        return forked(work)

    children = [begin(seed) for seed in range(processes)]
    for number in range(kills):
        killed_at_work(*children.pop(chance.randrange(processes)), 1, chance)
        children.append(begin(processes + number))
    os.close(held)
    reports = []
    for child, lines in children:
        with lines:
            reports.append(json.loads(lines.readlines()[-1]))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    problems: Counter[str] = Counter()
    for report in reports:
        problems.update(report["problems"])
    found = sum(is_right(folder, answer_of("shared", str(first)) + answer_of("shared", "0")) for first in range(3))
    sums = {
        name: sum(report[name] for report in reports) for name in ("turns", "wrong", "restored_tokens", "saved_tokens")
    }
    return {
        **sums,
        "kills": kills,
        "problems": dict(problems),
        "damaged_files": len(list(folder.rglob("*.damaged"))),
        "found_tokens_at_the_end": found,
    }


def main(kind: str, folder: str, *numbers: str) -> None:
    """Runs the command that the command line names."""
    # On a busy machine, a process that does not get to run makes the others wait longer than the program would.
    segment_reader._LOCK_SECONDS = HANG_SECONDS  # type: ignore[misc]
    if kind == "kill":
        kills, seed = map(int, numbers)
        print(json.dumps(kill_savers(Path(folder), kills, seed)))
    else:
        processes, turns, kills = map(int, numbers)
        print(json.dumps(share(Path(folder), processes, turns, kills)))


if __name__ == "__main__":
    main(*sys.argv[1:])
