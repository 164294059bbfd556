"""Models whose layers see windows, in rings that wrap: the same bits every way, and wherever they can go on from."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tui_llama.engine import open_model
from tui_llama.engine.model.model import Model
from tui_llama.engine.prompt_cache.cache import PromptCache
from tui_llama.files.storage import DiskStorage

CASES = ("gemma2-tiny-F16", "cohere2-nano-5-Q8_0", "gpt-oss-nano-4-F16", "gemma4-nano-6-F16")
CONTEXT, BATCH, LENGTH = 4096, 32, 1500
IDS = [5 + place * 7919 % 97 for place in range(LENGTH)]


def path_of(shared_folder: Path, name: str) -> Path:
    path = shared_folder / "golden" / "logits" / f"{name}.gguf"
    if not path.exists():
        pytest.skip(f"there is no {path.name}")
    return path


@pytest.fixture(scope="module", params=CASES)
def model(shared_folder: Path, request: pytest.FixtureRequest) -> Iterator[Model]:
    with open_model(
        path_of(shared_folder, request.param), threads=2, context_size=CONTEXT, batch_tokens=BATCH
    ) as model:
        assert not model.state_shape.is_trimmable
        yield model


@pytest.mark.shared
def test_rings_that_wrap_give_the_bits_of_one_that_does_not(model: Model, tmp_path: Path) -> None:
    with open_model(model.info.path, threads=1, context_size=CONTEXT, batch_tokens=CONTEXT) as whole:
        expected = whole.logits(IDS)[-1].tobytes()
    with model.new_sequence() as sequence:
        for first in range(0, LENGTH, 11):
            logits = sequence.extend(IDS[first : first + 11])
        assert logits.tobytes() == expected
        assert max(sequence.kept_from(group) for group in range(len(model.state_shape.groups))) > 0
        sequence.rewind(LENGTH - 63)
        assert sequence.extend(IDS[LENGTH - 63 :]).tobytes() == expected
        assert sequence.rewindable(100) == 0
        sequence.save(tmp_path / "session.tlk")
    with model.new_sequence() as restored:
        restored.restore(tmp_path / "session.tlk")
        restored.rewind(LENGTH - 1)
        assert restored.extend(IDS[-1:]).tobytes() == expected


@pytest.mark.shared
def test_turns_and_branches_are_gone_on_from_with_the_bits_of_reading(model: Model, tmp_path: Path) -> None:
    ends = [300, 340, 1100, LENGTH - 1]

    def cache() -> PromptCache:
        return PromptCache(DiskStorage(tmp_path), model.fingerprint, model.state_shape, 1 << 30)

    with model.new_sequence() as sequence:
        expected = []
        for first, last in zip([0, *ends], ends, strict=False):
            sequence.extend(IDS[first:last])
            cache().save(bytes(16), sequence)
        for end in ends:
            with model.new_sequence() as fresh:
                expected.append(fresh.extend([*IDS[:end], 9]).tobytes())
    for end, logits in zip(ends, expected, strict=True):
        with model.new_sequence() as sequence:
            assert cache().restore(sequence, [*IDS[:end], 9]).tokens == end
            assert sequence.extend([9]).tobytes() == logits
            sequence.extend(IDS[:50])
            cache().save(bytes(16), sequence)
        with model.new_sequence() as branch:
            assert cache().restore(branch, [*IDS[:end], 9, *IDS[:50], 1]).tokens == end + 51


@pytest.mark.shared
def test_a_shifted_sequence_sees_what_it_would_see_without_rings(model: Model) -> None:
    with open_model(model.info.path, threads=1, context_size=CONTEXT, batch_tokens=CONTEXT) as whole:
        for first, count in ((4, 700), (100, 3), (4, 20), (1200, 290)):
            with whole.new_sequence() as linear, model.new_sequence() as ring:
                for sequence in (linear, ring):
                    sequence.extend(IDS)
                    sequence.shift(first, count)
                assert ring.extend([3]).tobytes() == linear.extend([3]).tobytes()


@pytest.mark.shared
@pytest.mark.parametrize("name", ["deepseek2-nano-F16", "hunyuan-dense-pico-F16", "llama-tiny-F16"])
def test_what_is_left_of_a_shifted_sequence_goes_on_at_its_new_positions(shared_folder: Path, name: str) -> None:
    """In the first layer keys depend on token and position alone; where they cannot be turned, all is read again."""
    with open_model(path_of(shared_folder, name), threads=1, context_size=256) as model:
        ids, rest = IDS[:200], IDS[:4] + IDS[104:200]
        with model.new_sequence() as sequence, model.new_sequence() as fresh:
            sequence.extend(ids)
            sequence.shift(4, 100)
            fresh.extend(rest)
            assert sequence.token_ids == rest
            ours, theirs = (each.kv(0, 0, 100)[0].astype(float) for each in (sequence, fresh))
            width = model.state_shape.key_width(model.state_shape.groups[0])
            assert np.abs(ours - theirs)[..., :width].max() < 1e-2 * np.abs(theirs).max()
            assert model.moves.can_turn == ("hunyuan" not in name) == (sequence.exact_tokens < 100)
