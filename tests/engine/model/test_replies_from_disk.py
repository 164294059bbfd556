"""Chats of every architecture go on from disk, branch and go back: nothing is read twice, and the bits are the same."""

from pathlib import Path

import pytest

from tests.engine.model.golden_cases import golden_cases
from tests.engine.model.replies_from_disk import Outcome, replies_from_disk, state_of, write_model
from tests.engine.model.test_golden_logits import NO_CASE
from tests.scale import scaled
from tui_llama.engine.plan.architectures import ARCHITECTURES

MOST_TOKENS = scaled(1000, 1 << 15)


def wrong(outcomes: dict[str, Outcome]) -> dict[str, Outcome]:
    return {name: each for name, each in outcomes.items() if not each.is_right}


@pytest.mark.parametrize("cache_type", scaled(["f16"], ["f16", "q8_0"]))
@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_every_architecture_goes_on_from_disk(tmp_path: Path, architecture: str, cache_type: str) -> None:
    path = write_model(tmp_path / "model.gguf", architecture)
    assert wrong(replies_from_disk(path, tmp_path / "prompts", cache_type, MOST_TOKENS)) == {}


@pytest.mark.shared
@pytest.mark.parametrize("name", scaled(golden_cases()[::20], golden_cases()) or [NO_CASE])
def test_golden_models_go_on_from_disk(shared_folder: Path, tmp_path: Path, name: str) -> None:
    path = shared_folder / "golden" / "logits" / f"{name}.gguf"
    assert wrong(replies_from_disk(path, tmp_path / "prompts", most_tokens=MOST_TOKENS)) == {}


def test_architectures_that_may_have_windows_are_tried_with_some(tmp_path: Path) -> None:
    for name in sorted(ARCHITECTURES):
        state = state_of(write_model(tmp_path / "model.gguf", name))
        assert state.is_trimmable == (ARCHITECTURES[name].windows is None), name
