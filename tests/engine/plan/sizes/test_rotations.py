"""How positions enter, as read from a file."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.engine.plan.sizes.key_files import Setting, flag, integer, number, read_as, text
from tui_llama.engine.tensors.hyperparameters import Rotation
from tui_llama.errors import ModelFileError

WINDOW: Mapping[str, Setting] = {"block_count": integer(4), "attention.sliding_window": integer(20)}
LINEAR = {"rope.freq_base": number(1e6), "rope.scaling.type": text("linear"), "rope.scaling.factor": number(8.0)}
YARN = {
    "rope.freq_base": number(1e6), "rope.scaling.type": text("yarn"), "rope.scaling.factor": number(8.0),
    "rope.scaling.attn_factor": number(1.5), "rope.scaling.original_context_length": integer(64),
    "rope.scaling.yarn_beta_fast": number(16.0), "rope.scaling.yarn_beta_slow": number(2.0),
    "rope.scaling.yarn_log_multiplier": number(0.5),
}  # fmt: skip


def rotations(
    folder: Path,
    architecture: str,
    changes: Mapping[str, Setting],
    tensors: Mapping[str, Sequence[int]] | None = None,
) -> list[Rotation | None]:
    return [layer.rotation for layer in read_as(folder, architecture, changes, tensors).layers]


def windowed_and_full(folder: Path, architecture: str, changes: Mapping[str, Setting]) -> tuple[Rotation, Rotation]:
    """Returns the rotations of the first layer with a window and of the first without."""
    layers = read_as(folder, architecture, {**WINDOW, "block_count": integer(6), **changes}).layers
    windowed = next(layer.rotation for layer in layers if layer.window)
    full = next(layer.rotation for layer in layers if not layer.window)
    assert windowed is not None
    assert full is not None
    return windowed, full


def test_layers_with_a_window_may_have_a_base_of_their_own(tmp_path: Path) -> None:
    own = {"rope.freq_base_swa": number(5000.0)}
    bases = {
        (architecture, bool(keys)): [
            each.base for each in windowed_and_full(tmp_path, architecture, {**LINEAR, **keys})
        ]
        for architecture in ("gemma2", "gemma3", "olmo2")
        for keys in (own, {})
    }
    assert bases == {
        ("gemma2", True): [5000.0, 1e6],
        ("gemma2", False): [1e6, 1e6],
        ("gemma3", True): [5000.0, 1e6],
        ("gemma3", False): [10000.0, 1e6],
        ("olmo2", True): [1e6, 1e6],
        ("olmo2", False): [1e6, 1e6],
    }


def test_layers_with_a_window_may_go_unscaled(tmp_path: Path) -> None:
    kinds = {}
    for architecture in ("gemma2", "gemma3", "olmo2"):
        windowed, full = windowed_and_full(tmp_path, architecture, YARN)
        assert (full.scaling.kind, full.scaling.factor) == ("yarn", 8.0)
        kinds[architecture] = (windowed.scaling.kind, windowed.scaling.factor, windowed.scaling.magnitude)
    grown = pytest.approx(1.5 * (1 + 0.1 * math.log(8.0)))
    assert kinds == {"gemma2": ("yarn", 8.0, grown), "gemma3": ("none", 1.0, 1.5), "olmo2": ("none", 1.0, 1.0)}


def test_only_some_layers_rotate(tmp_path: Path) -> None:
    def rotated(architecture: str, changes: Mapping[str, Setting]) -> list[bool]:
        return [each is not None for each in rotations(tmp_path, architecture, {"block_count": integer(4), **changes})]

    scale = {"logit_scale": number(2.0)}
    assert rotated("smollm3", {}) == [True, True, True, False]
    assert rotated("cohere2", {**WINDOW, **scale}) == [True, True, True, False]
    assert rotated("granite", scale) == [True] * 4
    assert rotated("granite", {**scale, "rope.scaling.finetuned": flag(False)}) == [False] * 4
    assert rotated("exaone4", {**WINDOW, "block_count": integer(4)}) == [True] * 4
    assert rotated("exaone4", {**WINDOW, "block_count": integer(64)}) == [True, True, True, False] * 16


def test_part_of_a_head_may_rotate(tmp_path: Path) -> None:
    for architecture in ("glm4", "phi2", "stablelm"):
        rotation = rotations(tmp_path, architecture, {"rope.dimension_count": integer(8)})[0]
        assert rotation is not None
        assert rotation.dim == 8
    with pytest.raises(ModelFileError, match="7 is odd"):
        rotations(tmp_path, "glm4", {"rope.dimension_count": integer(7)})
    with pytest.raises(ModelFileError, match="18 is not between 1 and 16"):
        rotations(tmp_path, "glm4", {"rope.dimension_count": integer(18)})


@pytest.mark.parametrize(
    ("architecture", "sections", "still"),
    [
        ("qwen2vl", [2, 1, 1], []),
        ("qwen2vl", [2, 1, 2, 1], [5]),
        ("qwen2vl", [1, 1, 1, 1], [3, 7]),
        ("qwen3vl", [4, 2, 2, 0], [7]),
        ("qwen3vl", [3, 3, 2], []),
        ("qwen3vl", [4, 4, 0, 0], [2, 5]),
        ("glm4", [4, 2, 0, 2], [6, 7]),
    ],
)
def test_pairs_of_the_fourth_section_stand_still(
    tmp_path: Path, architecture: str, sections: list[int], still: list[int]
) -> None:
    rotation = rotations(tmp_path, architecture, {"rope.dimension_sections": sections})[0]
    assert rotation is not None
    assert list(rotation.still_pairs) == still
    assert not rotation.neighbours


def test_pairs_are_neighbours_where_a_file_has_no_sections(tmp_path: Path) -> None:
    rotation = rotations(tmp_path, "glm4", {})[0]
    assert rotation is not None
    assert rotation.neighbours
    assert rotation.still_pairs == ()


@pytest.mark.parametrize("sections", [[0, 0, 0, 0], [9, 9]])
def test_sections_that_fit_no_head_are_refused(tmp_path: Path, sections: list[int]) -> None:
    with pytest.raises(ModelFileError, match="do not fit 8 pairs"):
        rotations(tmp_path, "qwen2vl", {"rope.dimension_sections": sections})


def test_sections_that_must_be_there_are_named_where_they_are_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"'qwen3vl\.rope\.dimension_sections' is missing"):
        rotations(tmp_path, "qwen3vl", {})


BOTH = {"rope_factors_short.weight": (8,), "rope_factors_long.weight": (8,)}


def test_a_long_context_has_divisors_of_its_own(tmp_path: Path) -> None:
    longrope = {"rope.scaling.type": text("longrope"), "rope.scaling.original_context_length": integer(64)}
    for architecture, changes in (("phi3", {}), ("phi3", longrope), ("minicpm", longrope), ("llama", longrope)):
        keys = {"rope.scaling.original_context_length": integer(64), **changes}
        rotation = rotations(tmp_path, architecture, keys, BOTH)[0]
        assert rotation is not None
        assert rotation.factors_in(64) == "rope_factors_short.weight"
        assert rotation.factors_in(65) == "rope_factors_long.weight"


def test_divisors_mean_nothing_to_other_kinds_of_scaling_and_other_architectures(tmp_path: Path) -> None:
    longrope = {"rope.scaling.type": text("longrope")}
    for architecture, changes in (("llama", {}), ("llama", LINEAR), ("qwen3", longrope)):
        rotation = rotations(tmp_path, architecture, changes, BOTH)[0]
        assert rotation is not None
        assert rotation.factors_in(1) == rotation.factors_in(1 << 20) == ""


def test_divisors_of_all_contexts_win(tmp_path: Path) -> None:
    longrope = {"rope.scaling.type": text("longrope")}
    rotation = rotations(tmp_path, "llama", longrope, {**BOTH, "rope_freqs.weight": (8,)})[0]
    assert rotation is not None
    assert {rotation.factors_in(1), rotation.factors_in(1 << 20)} == {"rope_freqs.weight"}


def test_one_architecture_reads_yarns_numbers(tmp_path: Path) -> None:
    rotation = rotations(tmp_path, "mistral3", YARN)[0]
    assert rotation is not None
    assert (rotation.scaling.beta_fast, rotation.scaling.beta_slow) == (16.0, 2.0)
    growth = math.log(8.0)
    assert rotation.scaling.magnitude == pytest.approx(1.5 * (1 + 0.1 * growth) / (1 + 0.05 * growth))


def test_grok_has_a_bound_of_its_own_and_all_of_yarn_or_none(tmp_path: Path) -> None:
    experts = {"expert_count": integer(4), "expert_used_count": integer(2)}
    usual = {**experts, **{key: value for key, value in YARN.items() if "beta" not in key}}
    fast = [rotations(tmp_path, name, usual)[0] for name in ("grok", "mistral3")]
    assert [each and each.scaling.beta_fast for each in fast] == [8.0, 32.0]
    given = rotations(tmp_path, "grok", {**experts, **YARN})[0]
    assert given is not None
    assert given.scaling.beta_fast == 16.0
    for key in ("yarn_ext_factor", "yarn_attn_factor"):
        whole, half = ({**experts, **YARN, f"rope.scaling.{key}": number(factor)} for factor in (1.0, 0.5))
        assert rotations(tmp_path, "grok", whole)[0] == given
        with pytest.raises(ModelFileError, match=rf"grok\.rope\.scaling\.{key}.*only 1 is supported"):
            rotations(tmp_path, "grok", half)


def test_a_base_may_be_stretched_for_long_contexts(tmp_path: Path) -> None:
    changes = {"rope.freq_base": number(500.0), "rope.scaling.alpha": number(16.0)}
    rotation = rotations(tmp_path, "hunyuan-dense", changes)[0]
    assert rotation is not None
    assert rotation.base == pytest.approx(500.0 * 16.0 ** (16 / 14))


def test_layers_without_a_window_may_rotate_half_of_what_the_file_says(tmp_path: Path) -> None:
    keys: dict[str, Setting] = {
        "block_count": integer(2), "attention.sliding_window": integer(7), "rope.dimension_count": integer(16),
        "attention.sliding_window_pattern": [True, False],
    }  # fmt: skip
    layers = read_as(tmp_path, "step35", keys, {"rope_freqs.weight": [8]}).layers
    windowed, full = (layer.rotation for layer in layers)
    assert windowed is not None
    assert full is not None
    assert (windowed.dim, windowed.factors) == (16, "")
    assert (full.dim, full.factors, full.factor_count) == (8, "rope_freqs.weight", 8)


@pytest.mark.parametrize(("elements", "what"), [(6, "3 is odd"), (1, "half of it is nothing")])
def test_an_odd_half_cannot_rotate(tmp_path: Path, elements: int, what: str) -> None:
    keys: dict[str, Setting] = {
        "attention.sliding_window": integer(7), "rope.dimension_count": integer(elements),
        "attention.sliding_window_pattern": [False, False],
    }  # fmt: skip
    with pytest.raises(ModelFileError, match=what):
        read_as(tmp_path, "step35", keys)


def test_dense_layers_at_the_beginning_rotate_where_others_need_a_window(tmp_path: Path) -> None:
    keys: dict[str, Setting] = {
        "block_count": integer(9), "attention.sliding_window": integer(7), "leading_dense_block_count": integer(1),
        "expert_count": integer(8), "expert_used_count": integer(2), "expert_feed_forward_length": integer(32),
        "expert_gating_func": integer(2), "logit_scale": number(1.0),
    }  # fmt: skip
    still = {
        name: [number for number, layer in enumerate(read_as(tmp_path, name, keys).layers) if layer.rotation is None]
        for name in ("cohere2moe", "smallthinker")
    }
    assert still == {"cohere2moe": [4, 8], "smallthinker": [0, 4, 8]}
    without = read_as(tmp_path, "smallthinker", {**keys, "attention.sliding_window": None})
    assert all(layer.rotation is not None for layer in without.layers)
