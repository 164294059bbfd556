"""The starter computes the same whatever the way: threads, batches, and what is reused instead of read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.fakes.engine_events import tokens_of, usage_of
from tests.fakes.talk import never
from tests.starter.real_chat import LOOPING
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine import open_model
from tui_llama.engine.events import ModelLoaded
from tui_llama.engine.local import LocalEngine
from tui_llama.engine.protocol import ReplyEvent
from tui_llama.engine.requests import LoadRequest, ReplyRequest
from tui_llama.sampling.settings import SamplingSettings

pytestmark = [pytest.mark.starter, pytest.mark.slow]

TEXT = (
    "The llama is a domesticated animal of South America. It was kept for meat and as a pack animal by the peoples "
    "of the Andes long before anybody wrote of it. Llamas are social and live with others as a herd; their wool is "
    "soft and holds little lanolin.\n\n    def carry(load_kg: float) -> bool:\n        return load_kg <= 0.3 * 130\n"
)


# --- threads and batches ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def expected(starter_model: Path) -> npt.NDArray[np.float32]:
    """(tokens, vocab): the logits after every token of the text, read by one thread, a token at a time."""
    with open_model(starter_model, threads=1, batch_tokens=1) as model:
        return model.logits(model.tokenize(TEXT))


@pytest.mark.parametrize(
    ("threads", "batch_threads", "batch_tokens"), [(1, 0, 512), (2, 0, 512), (2, 0, 7), (1, 3, 33), (5, 2, 64)]
)
def test_threads_and_batches_change_no_bit(
    starter_model: Path, expected: npt.NDArray[np.float32], threads: int, batch_threads: int, batch_tokens: int
) -> None:
    with open_model(starter_model, threads=threads, batch_threads=batch_threads, batch_tokens=batch_tokens) as model:
        assert np.array_equal(model.logits(model.tokenize(TEXT)).view(np.int32), expected.view(np.int32))


# --- what is reused ---------------------------------------------------------------------------------------------

CHAT = "c" * 32
OTHER_CHAT = "d" * 32
ANSWER_TOKENS = 24
BEGINNING = ChatMessage(Role.USER, f"{TEXT}\nWhat is the text above about?")
ANSWER = ChatMessage(Role.ASSISTANT, "It is about llamas.")
QUESTION = ChatMessage(Role.USER, LOOPING)
OTHER_QUESTION = ChatMessage(Role.USER, "What is a herd?")
MESSAGES = (BEGINNING, ANSWER, QUESTION)

SAMPLING = [
    pytest.param(SamplingSettings(temperature=0.0), id="temperature 0"),
    pytest.param(SamplingSettings(seed=11, temperature=0.9), id="a seed"),
]


@contextmanager
def opened(model: Path, folder: Path) -> Iterator[LocalEngine]:
    """An engine that has read nothing yet; what it stores is in this folder."""
    engine = LocalEngine()
    loaded = engine.load(LoadRequest(str(model), prompt_cache_folder=str(folder)), never)
    assert isinstance(loaded, ModelLoaded), loaded
    yield engine
    engine.close()


def answer(
    engine: LocalEngine, messages: tuple[ChatMessage, ...], sampling: SamplingSettings, chat_id: str = CHAT
) -> list[ReplyEvent]:
    """An answer of so many tokens; everything is stored that is to be."""
    request = ReplyRequest(1, messages, sampling=sampling, max_tokens=ANSWER_TOKENS, chat_id=chat_id, ignore_eos=True)
    return list(engine.reply(request, never))


@pytest.mark.parametrize("sampling", SAMPLING)
def test_what_is_reused_never_changes_the_answer(
    starter_model: Path, tmp_path: Path, sampling: SamplingSettings
) -> None:
    with opened(starter_model, tmp_path) as engine:
        cold = answer(engine, MESSAGES, sampling)
        prompt_tokens = usage_of(cold).read_tokens
        again = answer(engine, MESSAGES, sampling)
        other = answer(engine, (BEGINNING, ANSWER, OTHER_QUESTION), sampling)
        after_other = answer(engine, MESSAGES, sampling)
    with opened(starter_model, tmp_path) as engine:
        restored = answer(engine, MESSAGES, sampling)
    with opened(starter_model, tmp_path) as engine:
        branch = answer(engine, (BEGINNING, ANSWER, OTHER_QUESTION), sampling, OTHER_CHAT)
        from_branch = answer(engine, MESSAGES, sampling, OTHER_CHAT)
    assert usage_of(cold).reused_tokens == 0
    assert len(tokens_of(cold)) == ANSWER_TOKENS
    for reusing in (again, after_other, restored, from_branch):
        assert tokens_of(reusing) == tokens_of(cold)
        usage = usage_of(reusing)
        assert usage.reused_tokens > 100
        assert usage.reused_tokens + usage.read_tokens == prompt_tokens
    assert usage_of(restored).read_tokens == 1
    assert tokens_of(branch) == tokens_of(other)
    assert usage_of(branch).reused_tokens > 100
