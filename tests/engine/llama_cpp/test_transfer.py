"""Sessions of llama.cpp in and out, with a model without weights: what is believed, stored and written."""

from pathlib import Path

import numpy as np
import pytest

from tests.fakes.fake_model import EOS, VOCAB_SIZE, FakeModel, FakeSequence
from tests.fakes.stored_prompts import MODEL, OTHER_OWNER, OWNER, cache_on, sequence_of, store, tokens
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.llama_cpp.session_format import LlamaSession, SessionHead
from tui_llama.engine.llama_cpp.session_reader import read_llama_session
from tui_llama.engine.llama_cpp.session_writer import write_llama_session
from tui_llama.engine.llama_cpp.transfer import SessionTransfer, WrittenSession
from tui_llama.engine.prompt_cache.cache import PromptCache
from tui_llama.errors import EngineError, ResultFileError, StateFileError

LARGE = 200
"""One more than a number as large as this is within what another program may differ by."""


def write_session(path: Path, sequence: FakeSequence, next_token_id: int | None = None) -> Path:
    """What llama.cpp would have written of a sequence: version 9, or 10 where there is a next token."""
    kv = sequence.kv(0, 0, len(sequence)).view(np.float16)
    layers = [(layer[..., :2].copy(), layer[..., 2:].copy()) for layer in kv]
    version, token_ids = 9 if next_token_id is None else 10, np.array(sequence.token_ids, np.uint32)
    head = SessionHead(version, "llama", MODEL.state_shape, token_ids, next_token_id)
    write_llama_session(path, head, layers)
    return path


def transfer_into(sequence: FakeSequence, cache: PromptCache | None = None) -> SessionTransfer:
    return SessionTransfer(MODEL, sequence, cache)


def read(path: Path) -> LlamaSession:
    return read_llama_session(path, "llama", MODEL.state_shape, 10_000, VOCAB_SIZE)


def with_wrong_number(past: list[int], place: int, error: int) -> FakeSequence:
    sequence = sequence_of(past)
    sequence.miscompute(place, error)
    return sequence


# --- in -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 100])
@pytest.mark.parametrize("next_token_id", [None, ord("x")])
def test_a_session_is_held_as_it_came_and_counts_as_foreign(
    tmp_path: Path, count: int, next_token_id: int | None
) -> None:
    past = tokens(count)
    path = write_session(tmp_path / "session", sequence_of(past), next_token_id)
    sequence = sequence_of(tokens(20, 1))
    taken = transfer_into(sequence).take(str(path))
    assert taken.token_ids == (*past, *([] if next_token_id is None else [next_token_id]))
    assert taken.text == MODEL.tokenizer.detokenize(taken.token_ids)
    assert (sequence.token_ids, sequence.own_tokens) == (past, 0)
    assert sequence.kv(0, 0, count).tobytes() == sequence_of(past).kv(0, 0, count).tobytes()


def test_a_session_says_whether_the_model_had_ended_it(tmp_path: Path) -> None:
    ended = write_session(tmp_path / "ended", sequence_of([5, 6]), EOS)
    open_ended = write_session(tmp_path / "open", sequence_of([5, EOS]), 6)
    taken = [transfer_into(sequence_of([])).take(str(path)) for path in (ended, open_ended)]
    assert [session.has_ended for session in taken] == [True, False]


def test_a_session_of_a_conversation_has_its_messages(tmp_path: Path) -> None:
    question, answer = ChatMessage(Role.USER, "hello"), ChatMessage(Role.ASSISTANT, "yes")
    past = MODEL.tokenizer.tokenize(MODEL.chat_template.render([question]) + answer.text, parse_special=True)
    taken = transfer_into(sequence_of([])).take(str(write_session(tmp_path / "session", sequence_of(past))))
    assert taken.messages == (question, answer)


def test_what_another_program_rounded_otherwise_is_kept_as_it_came(tmp_path: Path) -> None:
    past = next(past for seed in range(99) if sequence_of(past := tokens(100, seed)).numbers[-1] > LARGE)
    theirs = with_wrong_number(past, 99, 1)
    sequence = sequence_of([])
    transfer_into(sequence).take(str(write_session(tmp_path / "session", theirs)))
    assert sequence.kv(0, 0, 100).tobytes() == theirs.kv(0, 0, 100).tobytes()


@pytest.mark.parametrize("place", [48, 49, 98, 99])
def test_a_session_that_the_model_would_not_compute_is_refused(tmp_path: Path, place: int) -> None:
    path = write_session(tmp_path / "session", with_wrong_number(tokens(100), place, -2000))
    sequence = sequence_of([])
    with pytest.raises(StateFileError, match="made with another model, or damaged"):
        transfer_into(sequence).take(str(path))
    assert len(sequence) == 0


def test_a_session_of_other_tokens_is_refused(tmp_path: Path) -> None:
    sequence = sequence_of(tokens(100))
    sequence.token_ids[98:] = [1, 2]
    with pytest.raises(StateFileError, match="made with another model"):
        transfer_into(sequence_of([])).take(str(write_session(tmp_path / "session", sequence)))


def test_a_session_longer_than_the_context_is_refused(tmp_path: Path) -> None:
    model = FakeModel(context_size=50)
    path = write_session(tmp_path / "session", sequence_of(tokens(100)))
    with pytest.raises(StateFileError, match=r"longer than the context \(100 of 50 tokens\)"):
        SessionTransfer(model, FakeSequence(model), None).take(str(path))


def test_what_is_stored_is_for_its_owner_alone(tmp_path: Path) -> None:
    past = tokens(100)
    transfer = transfer_into(sequence_of([]), cache_on(tmp_path / "prompts"))
    transfer.take(str(write_session(tmp_path / "session", sequence_of(past))))
    transfer.store(OWNER)
    lengths = [cache_on(tmp_path / "prompts").stored_length(past, owner) for owner in (OWNER, OTHER_OWNER, None)]
    assert lengths == [100, 0, 0]


@pytest.mark.parametrize("budget_bytes", [None, 100])
def test_a_session_that_cannot_be_stored_is_an_error(tmp_path: Path, budget_bytes: int | None) -> None:
    cache = None if budget_bytes is None else cache_on(tmp_path / "prompts", budget_bytes)
    transfer = transfer_into(sequence_of([]), cache)
    transfer.take(str(write_session(tmp_path / "session", sequence_of(tokens(100)))))
    with pytest.raises(StateFileError, match="not stored"):
        transfer.store(OWNER)


# --- out ------------------------------------------------------------------------------------------------------------


def write(
    transfer: SessionTransfer, path: Path, token_ids: list[int], version: int = 10, owner: bytes | None = None
) -> WrittenSession:
    return transfer.write(
        str(path),
        tuple(token_ids),
        owner=owner,
        version=version,
        flash_attention=True,
        on_progress=lambda done, total: None,
    )


@pytest.mark.parametrize("stored", [0, 50, 99, 100])
@pytest.mark.parametrize("version", [9, 10])
def test_what_is_stored_is_written_and_the_rest_is_computed(tmp_path: Path, stored: int, version: int) -> None:
    past, cache = tokens(100), cache_on(tmp_path / "prompts")
    store(cache, past[:stored])
    cells = 100 if version == 9 else 99
    written = write(transfer_into(sequence_of(tokens(5, 3)), cache), tmp_path / "session", past, version)
    assert written == WrittenSession(100, cells, min(stored, cells), ())
    session = read(tmp_path / "session")
    assert session.state.token_ids.tolist() == past[:cells]
    assert session.next_token_id == (None if version == 9 else past[-1])
    assert session.state.kv.tobytes() == sequence_of(past[:cells]).kv(0, 0, cells).tobytes()


def test_version_9_has_the_logits_after_the_last_token(tmp_path: Path) -> None:
    past = tokens(30)
    write(transfer_into(sequence_of([])), tmp_path / "session", past, 9)
    expected = sequence_of(past[:-1]).extend(past[-1:])
    assert expected.tobytes() in (tmp_path / "session").read_bytes()


def test_what_was_computed_elsewhere_is_written_for_its_owner_alone(tmp_path: Path) -> None:
    past, cache = tokens(100), cache_on(tmp_path / "prompts")
    transfer = transfer_into(sequence_of([]), cache)
    transfer.take(str(write_session(tmp_path / "theirs", sequence_of(past))))
    transfer.store(OWNER)
    reused = [
        write(transfer_into(sequence_of([]), cache), tmp_path / name, past, owner=owner).reused_tokens
        for name, owner in (("owners", OWNER), ("others", OTHER_OWNER), ("nobodys", None))
    ]
    assert reused == [99, 0, 0]


def test_a_stored_state_that_is_not_used_is_told_of(tmp_path: Path) -> None:
    past = tokens(100)
    cache_on(tmp_path / "prompts").save(OWNER, with_wrong_number(past, 98, 5))
    written = write(transfer_into(sequence_of([]), cache_on(tmp_path / "prompts")), tmp_path / "session", past)
    assert (written.reused_tokens, written.problems) == (0, ("different from what the model computes",))
    assert read(tmp_path / "session").state.kv.tobytes() == sequence_of(past[:99]).kv(0, 0, 99).tobytes()


@pytest.mark.parametrize(
    ("token_ids", "version", "cause"),
    [
        ([], 9, "version 9 needs at least 1 tokens, not 0"),
        ([5], 10, "version 10 needs at least 2 tokens, not 1"),
        ([5, VOCAB_SIZE], 10, "tokens that this model does not know"),
    ],
)
def test_tokens_that_make_no_session_are_an_error(
    tmp_path: Path, token_ids: list[int], version: int, cause: str
) -> None:
    with pytest.raises(EngineError, match=cause):
        write(transfer_into(sequence_of([])), tmp_path / "session", token_ids, version)
    assert not (tmp_path / "session").exists()


def test_more_tokens_than_the_context_holds_are_an_error_whether_they_are_stored_or_not(tmp_path: Path) -> None:
    past, model = tokens(52), FakeModel(context_size=50)
    for stored in (0, 52):
        cache = cache_on(tmp_path / "prompts", model=model)
        store(cache, past[:stored])
        with pytest.raises(EngineError, match="51 tokens to read, but the context has room for 50"):
            write(SessionTransfer(model, FakeSequence(model), cache), tmp_path / "session", past)


def test_a_session_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResultFileError, match="not written: the folder is missing"):
        write(transfer_into(sequence_of([])), tmp_path / "missing" / "session", tokens(5))


def test_a_text_has_the_tokens_of_a_prompt() -> None:
    assert transfer_into(sequence_of([])).tokens_of("ab</s>") == (97, 98, EOS)
