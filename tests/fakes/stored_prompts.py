"""Stores prompts of a model without weights in a real prompt cache."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.fakes.fake_model import FakeModel, FakeSequence
from tui_llama.engine.prompt_cache.cache import CacheResult, PromptCache
from tui_llama.files.storage import DiskStorage, Storage

MODEL = FakeModel(context_size=100_000)
OWNER, OTHER_OWNER = b"o" * 16, b"p" * 16
TOKEN_BYTES = MODEL.state_shape.token_bytes


def tokens(count: int, seed: int = 0) -> list[int]:
    """Returns random token ids, the same for the same seed."""
    return [int(token_id) for token_id in np.random.default_rng(seed).integers(0, 250, count)]


def cache_on(storage: Storage | Path, budget_bytes: int = 1 << 30, model: FakeModel = MODEL) -> PromptCache:
    """Returns a prompt cache of a fake model."""
    storage = DiskStorage(storage) if isinstance(storage, Path) else storage
    return PromptCache(storage, model.fingerprint, model.state_shape, budget_bytes)


def sequence_of(token_ids: Sequence[int], model: FakeModel = MODEL) -> FakeSequence:
    """Returns a sequence that has read these tokens."""
    sequence = FakeSequence(model)
    sequence.extend(list(token_ids))
    return sequence


def store(cache: PromptCache, token_ids: Sequence[int], owner: bytes = OWNER) -> CacheResult:
    """Stores the keys and values of a sequence of these tokens."""
    return cache.save(owner, sequence_of(token_ids))
