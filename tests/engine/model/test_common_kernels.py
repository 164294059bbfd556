"""What is compiled before there is a model is all that such a model needs when it comes."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.fakes.tiny_model import Architecture, make_tiny_model
from tui_llama.engine import open_model, ops
from tui_llama.engine.layouts.weight_tile import FORMATS, TileFormat
from tui_llama.engine.model import model
from tui_llama.engine.model.common_kernels import KERNELS_OF_EVERY_MODEL, STARTER_FORMATS, kernels_for
from tui_llama.engine.toolchain.object_store import Kernel


class _EnoughError(Exception):
    """The kernels are known, and nothing is to be compiled."""


def needed_by(path: Path, monkeypatch: pytest.MonkeyPatch) -> set[Kernel]:
    """The kernels that are loaded when a model is opened."""
    needed: list[Kernel] = []

    def note(kernels: Iterable[Kernel], _report: object) -> None:
        needed.extend(kernels)
        raise _EnoughError

    with monkeypatch.context() as patched:
        patched.setattr(model, "load_kernels", note)
        with pytest.raises(_EnoughError):
            open_model(path, threads=1)
    return set(needed)


def format_named(name: str) -> TileFormat:
    return next(layout for layout in FORMATS.values() if layout.name == name)


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("name", ["Q4_1", "Q8_0", "Q4_0", "Q4_K", "Q6_K", "F16"])
def test_a_model_of_one_type_needs_no_other_kernels(
    name: str, architecture: Architecture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf", architecture, name)
    assert needed_by(path, monkeypatch) <= set(kernels_for([format_named(name)]))


def test_a_model_of_two_types_needs_no_other_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf", "qwen3", "Q4_K_M", tied=True)
    assert needed_by(path, monkeypatch) <= set(kernels_for([format_named("Q4_K"), format_named("Q6_K")]))


@pytest.mark.parametrize("name", ["Q4_1", "Q8_0"])
def test_the_kernels_of_the_starter_are_those_of_its_types(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_tiny_model(tmp_path / "tiny.gguf", "llama", name, tied=True)
    assert needed_by(path, monkeypatch) <= set(kernels_for(STARTER_FORMATS))


def test_looking_into_files_and_measuring_need_no_other_kernels() -> None:
    assert {ops.FIND_STRINGS, ops.READ_PASS, *KERNELS_OF_EVERY_MODEL} <= set(kernels_for([]))


def test_each_kernel_is_there_once() -> None:
    kernels = kernels_for([*STARTER_FORMATS, *STARTER_FORMATS])
    assert len(kernels) == len(set(kernels))
    assert set(kernels) == set(kernels_for(STARTER_FORMATS))
