"""A model as a whole: exact against llama.cpp's references, and the same bits whatever the way."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.fakes.tiny_model import Architecture, make_tiny_model
from tui_llama.engine import open_model
from tui_llama.engine.events import LoadStage
from tui_llama.engine.layouts.weight_tile import FORMATS
from tui_llama.engine.machine.instruction_sets import available_instruction_sets
from tui_llama.engine.model import preparation
from tui_llama.engine.model.facts import read_model_facts
from tui_llama.engine.model.model import Model
from tui_llama.engine.prompt_cache.cache import PromptCache
from tui_llama.engine.threads.placement import Placement
from tui_llama.errors import EngineError, ModelFileError, ResultFileError, SettingsError, StateFileError
from tui_llama.files.storage import DiskStorage

SUPPORTED = {layout.name for layout in FORMATS.values()}
GREEDY_PROMPT = "Once upon a time, there was a little girl"
TEXT = "once upon a time there was a little girl who lived in a house near the forest and one day she went out"
REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf", quantization="Q4_K")


def relative_error(got: npt.NDArray[np.float32], exact: npt.NDArray[np.float32]) -> float:
    difference = got.astype(np.float64) - exact
    return float(np.sqrt((difference**2).mean() / (exact.astype(np.float64) ** 2).mean()))


@pytest.mark.shared
def test_greedy_text_of_the_stories_model_is_the_peer_s(shared_folder: Path) -> None:
    golden = (shared_folder / "golden" / "text" / "stories260K-greedy-200.txt").read_text()
    with open_model(shared_folder / "data" / "stories260K.gguf", threads=2) as model, model.new_sequence() as sequence:
        logits = sequence.extend(model.tokenize(GREEDY_PROMPT, add_special=True))
        ids = []
        for _ in range(200):
            ids.append(int(logits.argmax()))
            logits = sequence.extend(ids[-1:])
        text = b"".join(model.tokenizer.piece(token_id) for token_id in ids).decode()
    assert text == golden.removesuffix("\n\n")


@pytest.mark.parametrize("quantization", sorted(SUPPORTED))
def test_batches_and_threads_change_no_bit(tmp_path: Path, quantization: str) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf", quantization=quantization)
    with open_model(path, threads=1, batch_tokens=512) as model:
        ids = model.tokenize(TEXT)
        expected = model.logits(ids).tobytes()
    for threads, batch_threads, batch_tokens in [(1, 0, 1), (1, 0, 7), (2, 0, 512), (2, 0, 3), (1, 3, 9), (5, 2, 9)]:
        with open_model(path, threads=threads, batch_threads=batch_threads, batch_tokens=batch_tokens) as model:
            assert model.logits(ids).tobytes() == expected


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "qwen3moe"])
def test_tokens_one_by_one_or_together_give_the_same_bits(tmp_path: Path, architecture: Architecture) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf", architecture=architecture)
    with open_model(path, threads=2, batch_tokens=16) as model, model.new_sequence() as sequence:
        ids = model.tokenize(TEXT)
        together = model.logits(ids)
        apart = np.stack([sequence.extend([token_id]) for token_id in ids])
        assert together.tobytes() == apart.tobytes()
        assert len(sequence) == len(ids)
        assert sequence.token_ids == ids


@pytest.mark.parametrize("batch_tokens", [512, 3])
def test_tokens_are_verified_with_the_bits_that_they_have_one_by_one(tiny: Path, batch_tokens: int) -> None:
    with open_model(tiny, threads=2, batch_tokens=batch_tokens) as model, model.new_sequence() as sequence:
        ids = model.tokenize(TEXT)
        expected = model.logits(ids)
        sequence.extend(ids[:7])
        assert sequence.verify([*ids[7:10], 1, 2, 3, 4])[:3].tobytes() == expected[7:10].tobytes()
        sequence.rewind(10)
        assert sequence.verify(ids[10:18]).tobytes() == expected[10:18].tobytes()
        assert sequence.token_ids == ids[:18]
        assert sequence.extend(ids[18:20]).tobytes() == expected[19].tobytes()


@pytest.mark.parametrize("architecture", ["llama", "qwen3"])
def test_a_quantised_cache_keeps_every_guarantee(tmp_path: Path, architecture: Architecture) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf", architecture=architecture)
    with open_model(path, threads=1) as model:
        ids = model.tokenize(TEXT)
        exact = model.logits(ids)
    with open_model(path, threads=2, batch_tokens=7, cache_type="q8_0") as model, model.new_sequence() as sequence:
        logits = model.logits(ids)
        apart = np.stack([sequence.extend([token_id]) for token_id in ids])
        assert apart.tobytes() == logits.tobytes()
        with model.new_sequence() as restored:
            restored.fill(0, 0, sequence.kv(0, 0, 9))
            restored.adopt(ids[:9])
            assert restored.extend(ids[9:]).tobytes() == logits[-1].tobytes()
    assert 0 < relative_error(logits, exact) < 0.02


def test_a_rewound_sequence_is_as_if_it_had_never_gone_on(tiny: Path) -> None:
    with open_model(tiny, threads=2) as model, model.new_sequence() as sequence:
        ids = model.tokenize(TEXT)
        sequence.extend(ids)
        sequence.rewind(5)
        again = sequence.extend(ids[5:20])
        assert again.tobytes() == model.logits(ids[:20])[-1].tobytes()


def test_chunks_give_progress_and_the_same_bits(tiny: Path) -> None:
    with open_model(tiny, threads=2) as model, model.new_sequence() as sequence:
        ids = model.tokenize(TEXT * 3)
        chunks = list(sequence.extend_in_chunks(ids))
        done = [count for count, _ in chunks]
        assert len(done) > 1 and done == sorted(set(done)) and done[-1] == len(ids)
        assert [logits is None for _, logits in chunks] == [True] * (len(chunks) - 1) + [False]
        last = chunks[-1][1]
        assert last is not None and last.tobytes() == model.logits(ids)[-1].tobytes()


def test_a_reading_that_is_stopped_leaves_a_sequence_that_goes_on(tiny: Path) -> None:
    with open_model(tiny, threads=2) as model, model.new_sequence() as sequence:
        ids = model.tokenize(TEXT * 3)
        done, _ = next(sequence.extend_in_chunks(ids))
        assert sequence.token_ids == ids[:done]
        assert sequence.extend(ids[done:]).tobytes() == model.logits(ids)[-1].tobytes()


_RESTORE = """
import sys
from pathlib import Path
from tui_llama.engine import open_model
from tui_llama.engine.prompt_cache.cache import PromptCache
from tui_llama.files.storage import DiskStorage
with open_model(sys.argv[1], threads=1) as model, model.new_sequence() as sequence:
    cache = PromptCache(DiskStorage(Path(sys.argv[2])), model.fingerprint, model.state_shape, 1 << 30)
    ids = [int(text) for text in sys.argv[3].split(",")]
    outcome = cache.restore(sequence, ids)
    assert (outcome.tokens, outcome.problems, sequence.token_ids) == (len(ids), (), ids), outcome
    sys.stdout.buffer.write(sequence.extend([3]).tobytes())
"""


def run_python(script: str, *arguments: str, **environment: str) -> bytes:
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, env=os.environ | environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def prompt_cache(model: Model, folder: Path) -> PromptCache:
    return PromptCache(DiskStorage(folder), model.fingerprint, model.state_shape, 1 << 30)


@pytest.mark.parametrize("cache_type", ["f16", "q8_0"])
def test_a_saved_sequence_goes_on_in_a_new_process_with_the_same_bits(
    tiny: Path, tmp_path: Path, cache_type: str
) -> None:
    with open_model(tiny, threads=2, cache_type=cache_type) as model, model.new_sequence() as sequence:
        ids = model.tokenize(TEXT)
        sequence.extend(ids)
        prompt_cache(model, tmp_path).save(bytes(16), sequence)
        expected = sequence.extend([3]).tobytes()
    script = _RESTORE.replace("threads=1", f"threads=1, cache_type={cache_type!r}")
    assert run_python(script, str(tiny), str(tmp_path), ",".join(map(str, ids))) == expected


@pytest.mark.parametrize("cache_type", ["f16", "q8_0"])
def test_a_session_that_was_saved_to_a_file_goes_on_with_the_same_bits(
    tiny: Path, tmp_path: Path, cache_type: str
) -> None:
    path = tmp_path / "session"
    with open_model(tiny, cache_type=cache_type) as model, model.new_sequence() as sequence:
        ids = model.tokenize(TEXT * 3)
        for length in (len(ids), 20):  # the second file takes the place of the first
            sequence.rewind(0)
            sequence.extend(ids[:length])
            sequence.save(path)
            expected = sequence.extend([3]).tobytes()
            with model.new_sequence() as restored:
                restored.extend([9, 9])
                restored.restore(path)
                assert restored.token_ids == ids[:length]
                assert restored.extend([3]).tobytes() == expected
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir() if each != tiny] == ["session"]


def test_a_session_file_that_must_not_be_used_is_refused_with_its_cause(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "session"
    other = make_tiny_model(tmp_path / "other.gguf", quantization="Q4_K", seed=1)
    with open_model(other) as model, model.new_sequence() as sequence:
        sequence.extend([1, 2, 3])
        sequence.save(path)
    with open_model(tiny) as model, model.new_sequence() as sequence:
        sequence.extend([5, 6])
        with pytest.raises(StateFileError, match="made with another model"):
            sequence.restore(path)
        with pytest.raises(StateFileError, match="missing"):
            sequence.restore(tmp_path / "nothing")
        assert sequence.token_ids == [5, 6]
        sequence.save(path)
        content = bytearray(path.read_bytes())
        content[-100] ^= 1
        path.write_bytes(content)
        with pytest.raises(StateFileError, match="damaged"):
            sequence.restore(path)
        sequence.extend([5, 6])
        with pytest.raises(ResultFileError, match="the folder is missing"):
            sequence.save(tmp_path / "no folder" / "session")
        with pytest.raises(ResultFileError, match="is not a saved session"):
            sequence.save(tiny)  # not even the model that it is of
        sequence.rewind(0)
        with pytest.raises(StateFileError, match="not written"):
            sequence.save(path)


def test_a_state_of_other_weights_or_another_configuration_is_not_used(tiny: Path, tmp_path: Path) -> None:
    other = make_tiny_model(tmp_path / "other.gguf", quantization="Q4_K", seed=1)
    for path, cache_type in ((other, "f16"), (tiny, "q8_0")):
        with open_model(path, cache_type=cache_type) as model, model.new_sequence() as sequence:
            sequence.extend([5, 6, 7])
            prompt_cache(model, tmp_path).save(bytes(16), sequence)
    with open_model(tiny) as model, model.new_sequence() as sequence:
        assert prompt_cache(model, tmp_path).restore(sequence, [5, 6, 7]).tokens == 0
        assert sequence.extend([5, 6, 7]).tobytes() == model.logits([5, 6, 7])[-1].tobytes()


_LOGITS = """
import sys
from tui_llama.engine import open_model
for path in sys.argv[1:]:
    with open_model(path, threads=2) as model:
        sys.stdout.buffer.write(model.logits([5 + i % 40 for i in range(90)]).tobytes())
"""


@pytest.mark.slow
def test_every_rung_that_this_machine_can_run_gives_the_same_bits(tmp_path: Path) -> None:
    names = ("Q4_K", "Q6_K", "Q8_0")  # with codes of four, six and eight bits
    paths = [str(make_tiny_model(tmp_path / f"{name}.gguf", quantization=name)) for name in names]
    rungs = available_instruction_sets()
    assert rungs[-1] == "portable"
    with ThreadPoolExecutor(2) as pool:  # every rung compiles anew
        outputs = set(pool.map(lambda rung: run_python(_LOGITS, *paths, TUI_LLAMA_INSTRUCTION_SET=rung), rungs))
    assert len(outputs) == 1
    assert len(outputs.pop()) > 0


def test_a_rung_that_the_processor_lacks_is_refused() -> None:
    script = """
from tui_llama.errors import SettingsError
try:
    import tui_llama.engine.machine.instruction_sets
except SettingsError as error:
    print(error)
"""
    assert b"made_up" in run_python(script, TUI_LLAMA_INSTRUCTION_SET="made_up")


@pytest.mark.parametrize("ids", [[], [-1], [10**6], [1] * 513])
def test_tokens_that_cannot_be_fed_are_refused_and_change_nothing(tiny: Path, ids: list[int]) -> None:
    with open_model(tiny) as model, model.new_sequence() as sequence:
        sequence.extend([1])
        with pytest.raises(EngineError):
            sequence.extend(ids)
        with pytest.raises(EngineError):
            list(sequence.extend_in_chunks(ids))
        assert sequence.token_ids == [1]


def test_closing_twice_is_closing_once(tiny: Path) -> None:
    model = open_model(tiny)
    sequence = model.new_sequence()
    for closed in (sequence, sequence, model, model):
        closed.close()
    assert len(sequence) == 0


def test_sizes_that_make_no_sense_are_refused(tiny: Path) -> None:
    for context_size, threads, batch_tokens in [(-1, 1, 1), (0, -1, 1), (0, 1, 0)]:
        with pytest.raises(SettingsError):
            open_model(tiny, context_size=context_size, threads=threads, batch_tokens=batch_tokens)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_threads": -1},
        {"cache_type": "q2_k"},
        {"placement": Placement(cpu_mask="x")},
        {"placement": Placement(cpu_range="0-" + "x" * 5000)},
        {"placement": Placement(poll=101)},
        {"placement": Placement(priority=4)},
        {"placement": Placement(numa="mirror")},
        {"threads": 9999},
        {"batch_threads": 10**20},
        {"context_size": 10**20},
        {"batch_tokens": 2**31},
    ],
)
def test_options_that_make_no_sense_are_refused(tiny: Path, options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        open_model(tiny, **options)


def test_loading_reports_every_stage_in_order(tiny: Path) -> None:
    seen: list[tuple[LoadStage, int, int]] = []
    with open_model(tiny, on_progress=lambda stage, done, total: seen.append((stage, done, total))):
        pass
    assert list(dict.fromkeys(stage for stage, _, _ in seen)) == list(LoadStage)
    for stage in LoadStage:
        assert max(done for s, done, _ in seen if s is stage) == next(total for s, _, total in seen if s is stage)


@pytest.mark.parametrize("stopped", list(LoadStage))
def test_a_load_that_is_stopped_leaves_no_threads(tiny: Path, stopped: LoadStage) -> None:
    def stop(stage: LoadStage, done: int, total: int) -> None:
        if stage is stopped:
            raise InterruptedError

    before = set(threading.enumerate())  # other tests of this process may have left a model open
    with pytest.raises(InterruptedError):
        open_model(tiny, threads=3, on_progress=stop)
    left = set(threading.enumerate()) - before
    assert not [thread for thread in left if thread.name.startswith(("engine-", "repack"))]


def with_type(path: Path, tensor: str, type_id: int) -> Path:
    """Changes the type of a matrix in the tensor table: after its name come two dimensions, then the type."""
    data = bytearray(path.read_bytes())
    at = data.index(tensor.encode()) + len(tensor) + 4 + 2 * 8
    data[at : at + 4] = type_id.to_bytes(4, "little")
    path.write_bytes(data)
    return path


def test_a_type_that_no_kernel_reads_is_named(tmp_path: Path) -> None:
    path = with_type(make_tiny_model(tmp_path / "tiny.gguf"), "blk.1.ffn_up.weight", 26)
    with pytest.raises(ModelFileError, match=r"blk\.1\.ffn_up\.weight.*I32") as raised:
        open_model(path)
    assert read_model_facts(path).refusal == str(raised.value)


def test_a_norm_that_is_no_float_is_named(tmp_path: Path) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf")
    data = bytearray(path.read_bytes())
    name = b"blk.0.attn_norm.weight"
    at = data.index(name) + len(name) + 4 + 8
    data[at : at + 4] = (26).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match=r"blk\.0\.attn_norm\.weight.*I32"):
        open_model(path)


def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf")
    data = path.read_bytes().replace(b"llama", b"lxama")
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match="lxama"):
        open_model(path)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf")
    path.write_bytes(path.read_bytes().replace(b"blk.1.ffn_up.weight", b"blk.1.ffn_xx.weight"))
    with pytest.raises(ModelFileError, match=r"blk\.1\.ffn_up\.weight"):
        open_model(path)


def test_the_plan_can_be_printed(tiny: Path) -> None:
    with open_model(tiny) as model:
        lines = str(model.plan).splitlines()
    assert lines[0].split() == ["operation", "weights", "MB", "MMAC/token", "on"]
    assert any(line.startswith("attention") and line.endswith("layer 1") for line in lines)
    assert any(line.startswith("matrix_q4_k") and "blk.0.ffn_down.weight" in line for line in lines)


def test_info_says_what_the_file_is(tiny: Path) -> None:
    with open_model(tiny, context_size=100) as model:
        info = model.info
    assert (info.name, info.architecture, info.quantization) == ("Tiny", "llama", "Q4_K")
    assert info.context_size == 100
    assert info.vocab_size == model.vocab_size
    assert info.key_value_bytes_per_token == model.state_shape.token_bytes


def test_weights_that_cannot_fit_into_memory_are_refused_before_the_system_runs_out_of_it(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "most_new_bytes", lambda: 1000)
    with pytest.raises(ModelFileError, match=r"need 0\.0 GB of memory, but only 0\.0 GB are free"):
        open_model(tiny)
    monkeypatch.setattr(preparation, "most_new_bytes", lambda: None)
    with open_model(tiny, threads=1) as model:
        assert model.logits([1]).shape[0] == 1
