"""Long prompts of models with windows: what was read is saved on the way, and another answer need not read it again."""

from pathlib import Path

from tests.fakes.engine_events import usage_of
from tests.fakes.fake_model import FakeModel
from tests.fakes.talk import CHAT, GREEDY, engine_storing_in, never
from tui_llama.engine.requests import CompleteRequest
from tui_llama.engine.state_shape import LayerGroup, StateShape

WINDOWS = StateShape((LayerGroup((0,), 1, 2, 2, 40), LayerGroup((1,), 1, 2, 2)))
LONG = tuple(7 + place % 50 for place in range(3000))


def reused(folder: Path, ledger: tuple[int, ...], max_tokens: int = 200, shape: StateShape = WINDOWS) -> int:
    """How many tokens another program need not read to answer; the answer is far longer than the windows."""
    engine = engine_storing_in(folder, FakeModel(context_size=10_000, state_shape=shape))
    request = CompleteRequest(1, "", GREEDY, max_tokens=max_tokens, ledger=ledger, chat_id=CHAT, ignore_eos=True)
    return usage_of(list(engine.reply(request, never))).reused_tokens


def test_another_answer_and_another_question_read_only_what_is_new(tmp_path: Path) -> None:
    assert reused(tmp_path, (*LONG, 1)) == 0
    assert reused(tmp_path, (*LONG, 1)) == len(LONG)
    assert reused(tmp_path, (*LONG[:-10], 2, 3)) == len(LONG) - 10


def test_an_edit_in_the_middle_reads_from_a_restore_point_on(tmp_path: Path) -> None:
    reused(tmp_path, LONG)
    assert 1024 <= reused(tmp_path, (*LONG[:2500], 1)) < 2500


def test_a_short_prompt_is_saved_with_its_answer(tmp_path: Path) -> None:
    assert reused(tmp_path, LONG[:400]) == 0
    assert reused(tmp_path, LONG[:400]) == 0  # the windows of its end were forgotten during the answer


def test_a_model_that_sees_everything_saves_once(tmp_path: Path) -> None:
    reused(tmp_path, LONG, shape=StateShape.uniform(1, 1, 2))
    (path,) = tmp_path.rglob("*.tlk")
    assert path.read_bytes().count(b"DONE") == 1
