"""Chats of real models that were saved and go on elsewhere: to the same bits, and only with the same model."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.tiny_model import Architecture, make_tiny_model
from tests.scale import scaled
from tui_llama.engine import Model, open_model
from tui_llama.engine.prompt_cache.cache import PromptCache
from tui_llama.engine.state_file import StateFingerprint
from tui_llama.files.storage import DiskStorage

REPOSITORY = Path(__file__).parents[3]
OWNER = b"o" * 16
ARCHITECTURES: tuple[Architecture, ...] = ("llama", "qwen2", "qwen3")


def tokens(count: int, seed: int) -> list[int]:
    return [int(token_id) for token_id in np.random.default_rng(seed).integers(3, 200, count)]


def cache_of(model: Model, folder: Path, fingerprint: StateFingerprint | None = None) -> PromptCache:
    return PromptCache(DiskStorage(folder), fingerprint or model.fingerprint, model.state_shape, 1 << 30)


# --- the same bits ----------------------------------------------------------------------------------------------------

_RESUME = """
import hashlib, json, sys
from pathlib import Path
from tui_llama.engine import open_model
from tui_llama.engine.prompt_cache.cache import PromptCache
from tui_llama.files.storage import DiskStorage
path, folder, cache_type, chats = sys.argv[1], Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
with open_model(path, threads=1, batch_tokens=33, cache_type=cache_type) as model:
    for ids in chats:
        with model.new_sequence() as sequence:
            cache = PromptCache(DiskStorage(folder), model.fingerprint, model.state_shape, 1 << 30)
            outcome = cache.restore(sequence, ids[:-1])
            assert (outcome.tokens, outcome.problems) == (len(ids) - 1, ()), outcome
            print(hashlib.sha256(sequence.extend(ids[-1:]).tobytes()).hexdigest())
"""


SOME_MODELS: list[tuple[Architecture, str, str, int]] = [
    ("llama", "Q4_K", "f16", 7),
    ("qwen3", "Q8_0", "f16", 5),
    ("qwen2", "Q8_0", "q8_0", 4),
    ("qwen3", "Q8_0", "q8_0", 4),
]
ALL_MODELS: list[tuple[Architecture, str, str, int]] = [
    (architecture, quantization, cache_type, 9)
    for architecture, quantization, cache_type in product(
        ARCHITECTURES, ("F32", "F16", "Q4_0", "Q4_1", "Q5_0", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "Q4_K_M"), ("f16", "q8_0")
    )
]


@pytest.mark.parametrize(("architecture", "quantization", "cache_type", "count"), scaled(SOME_MODELS, ALL_MODELS))
def test_chats_go_on_in_another_process_with_the_same_bits(
    tmp_path: Path, architecture: Architecture, quantization: str, cache_type: str, count: int
) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf", architecture, quantization)
    chats: list[list[int]] = []
    expected: list[str] = []
    with open_model(path, threads=2, cache_type=cache_type) as model, model.new_sequence() as sequence:
        cache = cache_of(model, tmp_path / "prompts")
        for number in range(count):
            # Every chat but the first begins as the one before, leaves it somewhere, and goes on for three turns.
            shared = chats[-1][: 40 * (number % 6) % len(chats[-1])] if chats else []
            ids = [*shared, *tokens(150 + 13 * number, number)]
            sequence.rewind(0)
            for end in (60 + len(shared) // 2, 101, len(ids) - 1):
                sequence.extend(ids[len(sequence) : max(end, len(sequence) + 1)])
                assert cache.save(OWNER, sequence).problems == ()
            chats.append(ids)
            expected.append(hashlib.sha256(sequence.extend(ids[len(sequence) :]).tobytes()).hexdigest())
    command = [sys.executable, "-c", _RESUME, str(path), str(tmp_path / "prompts"), cache_type, json.dumps(chats)]
    done = subprocess.run(command, cwd=REPOSITORY, env=os.environ, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == expected


# --- of the same model only -------------------------------------------------------------------------------------------


def _one_weight(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    path.write_bytes(content)


def _one_bit(path: Path, seed: int) -> None:
    """Flips a bit somewhere in the weights, which are the last part of the file."""
    content, chance = bytearray(path.read_bytes()), np.random.default_rng(seed)
    content[-int(chance.integers(1, len(content) // 2))] ^= 1 << int(chance.integers(8))
    path.write_bytes(content)


def _layers_swapped(path: Path) -> None:
    content = path.read_bytes()
    for tensor in (b"attn_k.weight", b"attn_v.weight", b"attn_q.weight", b"ffn_up.weight"):
        one, other = b"blk.0." + tensor, b"blk.1." + tensor
        content = content.replace(one, b"blk.X." + tensor).replace(other, one).replace(b"blk.X." + tensor, other)
    path.write_bytes(content)


def _changed(path: Path, change: Callable[[Path], None]) -> Path:
    make_tiny_model(path)
    change(path)
    return path


IDENTITIES: dict[str, Callable[[Path], Path]] = {
    "all weights": lambda path: make_tiny_model(path, seed=1),
    "another type": lambda path: make_tiny_model(path, quantization="Q8_0"),
    "rope linear": lambda path: make_tiny_model(path, rope_scaling="linear"),
    "rope yarn": lambda path: make_tiny_model(path, rope_scaling="yarn"),
    "rope factors": lambda path: make_tiny_model(path, rope_scaling="factors"),
    "another name": lambda path: make_tiny_model(path, name="Other"),
    "another template": lambda path: make_tiny_model(path, chat_template="{{ messages[0]['content'] }}"),
    "another architecture": lambda path: make_tiny_model(path, "qwen2"),
    "one weight": lambda path: _changed(path, _one_weight),
    "layers swapped": lambda path: _changed(path, _layers_swapped),
}
MORE_IDENTITIES: dict[str, Callable[[Path], Path]] = {
    **{f"weights {seed}": partial(make_tiny_model, seed=seed) for seed in range(2, 12)},
    **{f"bit {seed}": partial(_changed, change=partial(_one_bit, seed=seed)) for seed in range(30)},
    **{
        f"{architecture} {quantization}": partial(make_tiny_model, architecture=architecture, quantization=quantization)
        for architecture, quantization in product(ARCHITECTURES, ("F16", "Q4_0", "Q4_K"))
    },
}
IDENTITIES |= scaled({}, MORE_IDENTITIES)
GROSS = (
    "all weights",
    "another type",
    "rope linear",
    "rope yarn",
    "rope factors",
    "another architecture",
    "layers swapped",
)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StateFingerprint, list[int]]:
    """A folder with a stored prompt, what it belongs to, and its tokens."""
    folder, ids = tmp_path_factory.mktemp("stored"), tokens(150, 0)
    path = make_tiny_model(folder / "tiny.gguf")
    with open_model(path) as model, model.new_sequence() as sequence:
        sequence.extend(ids)
        assert cache_of(model, folder / "prompts").save(OWNER, sequence).tokens == 150
        return folder / "prompts", model.fingerprint, ids


@pytest.mark.parametrize("identity", IDENTITIES)
def test_what_another_model_stored_is_not_used(
    stored: tuple[Path, StateFingerprint, list[int]], tmp_path: Path, identity: str
) -> None:
    folder, fingerprint, ids = stored
    path = IDENTITIES[identity](tmp_path / "tiny.gguf")
    with open_model(path) as model, model.new_sequence() as sequence:
        assert model.fingerprint.model != fingerprint.model
        assert cache_of(model, folder).restore(sequence, ids).tokens == 0


@pytest.mark.parametrize("change", ["engine", "cache type"])
def test_what_another_engine_or_configuration_stored_is_not_used(
    stored: tuple[Path, StateFingerprint, list[int]], tmp_path: Path, change: str
) -> None:
    folder, fingerprint, ids = stored
    path = make_tiny_model(tmp_path / "tiny.gguf")
    cache_type = "q8_0" if change == "cache type" else "f16"
    with open_model(path, cache_type=cache_type) as model, model.new_sequence() as sequence:
        newer = StateFingerprint(fingerprint.model, model.fingerprint.configuration, fingerprint.engine_abi + 1)
        expected = newer if change == "engine" else model.fingerprint
        assert cache_of(model, folder, expected).restore(sequence, ids).tokens == 0


@pytest.mark.parametrize("identity", [*GROSS, *(name for name in IDENTITIES if name.startswith("weights "))])
def test_without_a_fingerprint_the_last_token_still_tells(tmp_path: Path, identity: str) -> None:
    ids = tokens(150, 0)
    with open_model(make_tiny_model(tmp_path / "one.gguf")) as model, model.new_sequence() as sequence:
        sequence.extend(ids)
        cache_of(model, tmp_path / "prompts").save(OWNER, sequence)
        fingerprint = model.fingerprint
    with open_model(IDENTITIES[identity](tmp_path / "other.gguf")) as model, model.new_sequence() as sequence:
        outcome = cache_of(model, tmp_path / "prompts", fingerprint).restore(sequence, ids)
        assert (outcome.tokens, outcome.problems) == (0, ("different from what the model computes",))
        assert len(sequence) == 0
