"""Mixtures whose experts stay in the model file: the same bits, little memory, and one error where the file changes."""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.model.random_model import write_random_model
from tests.fakes.tiny_model import TinyShape, make_tiny_model
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine import open_model
from tui_llama.engine.events import Failed, Finished, LoadStage, ModelLoaded, Notice
from tui_llama.engine.local import LocalEngine
from tui_llama.engine.model import preparation
from tui_llama.engine.model.facts import read_model_facts
from tui_llama.engine.model.inspection import inspect_model
from tui_llama.engine.requests import LoadRequest, ReplyRequest
from tui_llama.engine.tensors import file_experts
from tui_llama.errors import ModelFileError
from tui_llama.sampling.settings import SamplingSettings

IDS = [5, 9, 200, 17, 33, 5, 5, 120, 64, 7, 91, 3, 150, 28, 44, 61, 77, 2, 88, 101, 19, 230, 11]
TYPES = ["Q4_K_M", "Q8_0", "Q4_0", "MXFP4", "IQ2_XXS", "IQ3_S", "IQ4_XS", "Q2_K", "IQ1_M", "NVFP4", "BF16", "F32"]
FILE_OR_MEMORY = {"multiply_experts", "multiply_file_experts"}
FUSED = ("blk.*.ffn_gate_up_exps.weight", "blk.*.ffn_down_exps.weight", "blk.*.ffn_*_exps.bias")


def logits(path: Path, *, experts: str, threads: int = 1, batch_tokens: int = 512) -> bytes:
    with open_model(path, threads=threads, batch_tokens=batch_tokens, experts=experts) as model:
        return model.logits(IDS).tobytes()


def mixture(folder: Path, quantization: str = "Q8_0", *, tensors_per_part: int = 0, seed: int = 0) -> Path:
    path = folder / f"{quantization}-{seed}.gguf"
    return make_tiny_model(path, "qwen3moe", quantization, seed=seed, tensors_per_part=tensors_per_part)


def free_memory(monkeypatch: pytest.MonkeyPatch, free_bytes: int | None) -> None:
    monkeypatch.setattr(preparation, "memory_and_free", lambda: (10 * (free_bytes or 0), free_bytes))
    monkeypatch.setattr(preparation, "most_new_bytes", lambda: free_bytes)


# --- the same bits


@pytest.mark.parametrize("quantization", TYPES)
def test_experts_in_the_file_give_the_bits_of_experts_in_memory(tmp_path: Path, quantization: str) -> None:
    path = mixture(tmp_path, quantization)
    expected = logits(path, experts="memory", threads=2)
    for threads, batch_tokens in ((1, 512), (2, 512), (1, 1), (2, 1), (2, 7)):
        assert logits(path, experts="file", threads=threads, batch_tokens=batch_tokens) == expected


@pytest.mark.parametrize("quantization", ["F16", "Q5_0"])
def test_rows_that_fill_no_tile_and_more_rows_than_are_read_at_once_change_nothing(
    tmp_path: Path, quantization: str
) -> None:
    shape = TinyShape(hidden=200 if quantization == "F16" else 160, embedding=64)
    path = make_tiny_model(tmp_path / "odd.gguf", "qwen3moe", quantization, shape=shape)
    expected = logits(path, experts="memory")
    assert logits(path, experts="file", threads=2) == expected
    assert logits(path, experts="file", batch_tokens=1) == expected


def test_a_part_of_a_tensor_of_two_matrices_is_read_from_where_it_lies(tmp_path: Path) -> None:
    sizes = {"expert_count": 6, "expert_used_count": 2, "expert_feed_forward_length": 40}
    path = write_random_model(tmp_path / "fused.gguf", "qwen3moe", sizes, FUSED)
    with open_model(path, threads=1, experts="file") as model:
        assert "ffn_gate_up_exps" in str(model.plan)
    assert logits(path, experts="file", threads=2) == logits(path, experts="memory")


def test_experts_in_several_files_are_read_from_their_own(tmp_path: Path) -> None:
    whole = mixture(tmp_path)
    (tmp_path / "split").mkdir()
    split = mixture(tmp_path / "split", tensors_per_part=5)
    assert len(list(split.parent.iterdir())) > 3
    assert logits(split, experts="file", threads=2) == logits(whole, experts="memory")


def test_reads_that_are_cut_up_or_have_to_be_repeated_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = mixture(tmp_path)
    calls = []

    def read(descriptor: int, target: int, size: int, offset: int) -> int:
        calls.append(size)
        if len(calls) % 3 == 1:
            return -1
        data = os.pread(descriptor, min(size, 1000), offset)
        ctypes.memmove(target, data, len(data))
        return len(data)

    with reading_by(read, monkeypatch):
        assert logits(path, experts="file") == logits(path, experts="memory")
    assert len(calls) > 100


class reading_by:  # noqa: N801 - used like a function
    """While it is open, experts are read by a function in Python with the arguments of `pread`."""

    _KIND = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int32, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)

    def __init__(self, read: Callable[[int, int, int, int], int], monkeypatch: pytest.MonkeyPatch) -> None:
        self._callback = self._KIND(read)
        self._monkeypatch = monkeypatch

    def __enter__(self) -> None:
        found, own = file_experts.address_in_c_library, ctypes.cast(self._callback, ctypes.c_void_p).value or 0
        address = lambda name: own if name == "pread" else found(name)  # noqa: E731
        self._monkeypatch.setattr(file_experts, "address_in_c_library", address)

    def __exit__(self, *_: object) -> None:
        self._monkeypatch.undo()


# --- memory


def test_experts_that_do_not_fit_stay_in_the_file_and_the_user_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_tiny_model(tmp_path / "m.gguf", "qwen3moe", "Q8_0", shape=TinyShape(embedding=256, hidden=256))
    facts = read_model_facts(path)
    others = facts.weight_bytes - facts.expert_bytes + 512 * facts.key_value_bytes_per_token
    monkeypatch.setattr(preparation, "OVERHEAD_BYTES", 0)
    expected = logits(path, experts="memory")
    # All fit; half of them do, beside the tenth that is left for the file; none do.
    for free_bytes, kernels in (
        (others + facts.expert_bytes, {"multiply_experts"}),
        (int((others + facts.expert_bytes / 2) / 0.9), {"multiply_experts", "multiply_file_experts"}),
        (others, {"multiply_file_experts"}),
    ):
        free_memory(monkeypatch, free_bytes)
        with open_model(path, threads=2) as model:
            assert {step.operation for step in model.plan.steps} & FILE_OR_MEMORY == kernels
            assert model.logits(IDS).tobytes() == expected
            stays = [notice for notice in model.notices if "stay in the model file" in notice]
            assert len(stays) == (len(kernels) > 1 or "multiply_experts" not in kernels)
            assert all("because only 0.0 GB of memory are free; answers are slower" in notice for notice in stays)
            assert model.info.weight_bytes <= free_bytes


def test_the_weights_in_the_file_take_no_memory_of_the_process(tmp_path: Path) -> None:
    path = make_tiny_model(tmp_path / "large.gguf", "qwen3moe", "F16", shape=TinyShape(embedding=512, hidden=1024))
    experts = 7 * 3 * 2 * 512 * 1024 * 2
    in_file = _memory_with(path, "file")
    assert _memory_with(path, "memory") - in_file > 0.8 * experts


def _memory_with(path: Path, experts: str) -> int:
    """Returns the bytes that this process has in memory, files aside, while a model is open that was just used."""
    with open_model(path, threads=1, context_size=64, experts=experts) as model:
        model.logits(IDS)
        lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def test_where_even_the_rest_does_not_fit_or_all_must_be_in_memory_there_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = mixture(tmp_path)
    with open_model(path, threads=1, experts="file") as model:
        rest = model.info.weight_bytes
    for free_bytes, experts in ((rest - 1, "auto"), (rest - 1, "file"), (rest + 1, "memory")):
        free_memory(monkeypatch, free_bytes)
        with pytest.raises(ModelFileError, match="are free"):
            open_model(path, threads=1, experts=experts)
    free_memory(monkeypatch, None)
    with open_model(path, threads=1) as model:
        assert not model.reads_file


def test_an_inspection_says_what_would_stay_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = mixture(tmp_path)
    free_memory(monkeypatch, 10_000_000)
    inspection = inspect_model(path, with_plan=True)
    assert any("stay in the model file" in notice for notice in inspection.notices)
    assert any(line.startswith("multiply_file_experts") for line in inspection.plan)
    assert 0 < inspection.facts.expert_bytes < inspection.facts.weight_bytes
    assert inspection.unused_tensors == ()
    in_memory = inspect_model(path, experts="memory")
    assert in_memory.notices == ()


# --- the file


def test_the_file_is_open_only_as_long_as_it_is_needed(tmp_path: Path) -> None:
    path = mixture(tmp_path)
    before = descriptors_of(path)
    with open_model(path, threads=1, experts="memory"):
        assert descriptors_of(path) == before
    with open_model(path, threads=1, experts="file"):
        assert descriptors_of(path) == before + 1
    assert descriptors_of(path) == before

    def stop(stage: LoadStage, done: int, total: int) -> None:
        if stage is LoadStage.WARM_UP:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_model(path, threads=1, experts="file", on_progress=stop)
    assert descriptors_of(path) == before


def descriptors_of(path: Path) -> int:
    """Returns how often this process has a file open."""
    return sum(os.path.realpath(link) == str(path.resolve()) for link in Path("/proc/self/fd").iterdir())


def overwrite(path: Path) -> None:
    other = mixture(path.parent, seed=1)
    with path.open("r+b") as file:
        file.write(other.read_bytes())
    os.utime(path, ns=(1, 1))  # as if it had been long ago, on a clock that is as coarse as it likes


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize("change", [overwrite, cut, empty])
def test_a_file_that_is_written_to_is_an_error_and_loading_it_again_helps(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = mixture(tmp_path)
    content = path.read_bytes()
    engine, request = LocalEngine(), LoadRequest(str(path), threads=2, experts="file")
    assert isinstance(engine.load(request, lambda: False), ModelLoaded)
    assert isinstance(reply(engine)[-1], Finished)
    change(path)
    for _ in range(2):
        failed = reply(engine)
        assert [type(event) for event in failed] == [Failed]
        assert isinstance(failed[0], Failed)
        assert "was written to while it was read" in failed[0].message
    path.write_bytes(content)
    assert isinstance(engine.load(request, lambda: False), ModelLoaded)
    assert isinstance(reply(engine)[-1], Finished)
    engine.close()


@pytest.mark.parametrize("change", [overwrite, cut, empty])
def test_no_logits_come_from_a_file_that_is_written_to_during_an_answer(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = mixture(tmp_path)
    with open_model(path, threads=2, experts="file") as model, model.new_sequence() as sequence:
        sequence.extend(IDS)
        change(path)
        with pytest.raises(ModelFileError, match="was written to while it was read"):
            sequence.extend([1])
        assert sequence.cache.length == len(IDS)


@pytest.mark.parametrize("removed", [True, False])
def test_a_file_that_is_removed_or_replaced_is_still_read(tmp_path: Path, removed: bool) -> None:
    path = mixture(tmp_path)
    engine = LocalEngine()
    assert isinstance(engine.load(LoadRequest(str(path), threads=1, experts="file"), lambda: False), ModelLoaded)
    before = reply(engine)
    if removed:
        path.unlink()
    else:
        mixture(tmp_path, seed=1).rename(path)
    after = reply(engine)
    assert texts(after) == texts(before)
    assert any(isinstance(event, Notice) for event in after)
    engine.close()


def test_a_disk_that_cannot_be_read_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = mixture(tmp_path)
    is_broken = False

    def read(descriptor: int, target: int, size: int, offset: int) -> int:
        if is_broken:
            return -1
        data = os.pread(descriptor, size, offset)
        ctypes.memmove(target, data, len(data))
        return len(data)

    with reading_by(read, monkeypatch), open_model(path, threads=2, experts="file") as model:
        expected = model.logits(IDS)
        is_broken = True
        with pytest.raises(ModelFileError, match="weights of experts cannot be read from the file") as raised:
            model.logits(IDS)
        assert "disk" in raised.value.hint
        is_broken = False
        assert model.logits(IDS).tobytes() == expected.tobytes()


def reply(engine: LocalEngine) -> list[object]:
    messages = (ChatMessage(Role.USER, "hello there"),)
    request = ReplyRequest(turn=1, messages=messages, sampling=SamplingSettings(temperature=0.0), max_tokens=12)
    return list(engine.reply(request, lambda: False))


def texts(events: list[object]) -> str:
    return "".join(getattr(event, "text", "") for event in events if not isinstance(event, Notice))
