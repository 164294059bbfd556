import pytest

from tui_llama.models.downloads import DownloadError
from tui_llama.models.hub.choice import HubFile, choose, quantization_of, whole_models
from tui_llama.models.hub.reference import HubReference

PARTS = ("x-Q8_0-00001-of-00002.gguf", "x-Q8_0-00002-of-00002.gguf")


def chosen(*names: str, file: str = "", quantization: str = "") -> str:
    return choose(HubReference("o/r", file=file, quantization=quantization), [HubFile(name) for name in names])[0].name


@pytest.mark.parametrize(
    ("name", "quantization"),
    [
        ("model-Q4_K_M.gguf", "Q4_K_M"),
        ("model.q8_0.gguf", "Q8_0"),
        ("model_Q8_0_final.gguf", "Q8_0"),
        ("model.i1-IQ2_XXS.gguf", "IQ2_XXS"),
        ("UD/model-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("model-fp16.gguf", "F16"),
        ("model-BF16.gguf", "BF16"),
        ("model-q4_0_4_4.gguf", "Q4_0_4_4"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("Q4_K_M/model.gguf", "Q4_K_M"),
        ("model.gguf", ""),
        ("Qwen2-0.5B-instruct.gguf", ""),
    ],
)
def test_the_quantization_is_read_from_the_name(name: str, quantization: str) -> None:
    assert quantization_of(name) == quantization


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("any.gguf",), "any.gguf"),
        (("x-Q2_K.gguf",), "x-Q2_K.gguf"),
        (("x-Q8_0.gguf", "x-Q4_K_M.gguf", "x-IQ4_XS.gguf"), "x-Q4_K_M.gguf"),
        (("x-Q8_0.gguf", "x-Q6_K.gguf", "x-F16.gguf"), "x-Q6_K.gguf"),
        (("x-Q4_K_M.gguf", "mmproj-x-Q4_K_M.gguf"), "x-Q4_K_M.gguf"),
        (("mmproj-x-f16.gguf", "x-BF16.gguf"), "x-BF16.gguf"),
        (("imatrix_unsloth.gguf", "x-F16.gguf"), "x-F16.gguf"),
        ((*PARTS, "x-F16.gguf"), PARTS[0]),
        ((*PARTS, "x-Q6_K.gguf"), "x-Q6_K.gguf"),
        (("x-UD-Q4_K_XL.gguf", "x-Q4_K_M.gguf", "x-UD-Q4_K_M.gguf"), "x-Q4_K_M.gguf"),
    ],
)
def test_without_a_choice_the_one_that_suits_most_people_is_taken(names: tuple[str, ...], expected: str) -> None:
    assert chosen(*names) == expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("Q4_K_M", "x-Q4_K_M.gguf"),
        ("q4_k_m", "x-Q4_K_M.gguf"),
        ("Q4_K", "x-Q4_K.gguf"),
        ("Q4_0", "x-Q4_0.gguf"),
        ("IQ4_XS", "x-IQ4_XS.gguf"),
        ("Q4_K_XL", "x-UD-Q4_K_XL.gguf"),
        ("instruct", "x-instruct-f32.gguf"),
    ],
)
def test_a_quantization_is_found_as_a_whole_word(wanted: str, expected: str) -> None:
    names = ("x-Q4_K_M.gguf", "x-Q4_K.gguf", "x-Q4_0.gguf", "x-Q4_0_4_4.gguf", "x-IQ4_XS.gguf", "x-UD-Q4_K_XL.gguf")

    assert chosen(*names, "x-instruct-f32.gguf", "mmproj-x-Q4_K.gguf", quantization=wanted) == expected


def test_the_exact_quantization_comes_before_variants_of_it() -> None:
    assert chosen("x-UD-Q4_K_M.gguf", "x-Q4_K_M.gguf", quantization="Q4_K_M") == "x-Q4_K_M.gguf"


@pytest.mark.parametrize(
    ("names", "file", "quantization", "message", "hint"),
    [
        ((), "", "", "has no GGUF file", "GGUF in its name"),
        (("a.gguf", "b.gguf"), "", "", "2 matching files: a.gguf, b.gguf", "hf:o/r:a.gguf"),
        (("a-Q4_K_M.gguf", "b-Q4_K_M.gguf"), "", "", "2 matching files", "hf:o/r:a-Q4_K_M.gguf"),
        (("a-Q8_0.gguf", "b-Q8_0.gguf"), "", "Q8_0", "2 matching files", "hf:o/r:a-Q8_0.gguf"),
        (("a-Q8_0.gguf", "a-Q6_K.gguf"), "", "Q4_K_M", "has no Q4_K_M", "It has Q6_K, Q8_0."),
        (("tiny-Q8_0.gguf", "other.gguf"), "tiny-Q8.gguf", "", "has no file tiny-Q8.gguf", "It has tiny-Q8_0.gguf."),
        (PARTS[:1], "", "", f"all 2 parts of the model: {PARTS[1]} is missing", "Choose another"),
        (PARTS[1:], "", "Q8_0", f"all 2 parts of the model: {PARTS[0]} is missing", "Choose another"),
        (("mmproj.gguf",), "", "", "only the image part of a model", "hf:o/r"),
        (("mmproj.gguf", "x.gguf"), "mmproj.gguf", "", "only the image part of a model", "hf:o/r"),
    ],
)
def test_what_cannot_be_chosen_is_refused_and_said_what_there_is(
    names: tuple[str, ...], file: str, quantization: str, message: str, hint: str
) -> None:
    with pytest.raises(DownloadError, match=message) as caught:
        chosen(*names, file=file, quantization=quantization)

    assert hint in caught.value.hint


@pytest.mark.parametrize("reference", [("", ""), ("", "Q8_0"), (PARTS[0], ""), (PARTS[1], "")])
def test_of_a_split_model_all_parts_are_chosen_in_order(reference: tuple[str, str]) -> None:
    file, quantization = reference
    files = [HubFile(f"folder/{name}") for name in ("other-Q2_K.gguf", *reversed(PARTS))]
    wanted = HubReference("o/r", file=f"folder/{file}" if file else "", quantization=quantization)

    assert [each.name for each in choose(wanted, files)] == [f"folder/{name}" for name in PARTS]


def test_long_lists_are_cut_short() -> None:
    with pytest.raises(DownloadError, match="and 94 more"):
        chosen(*(f"model-{number}.gguf" for number in range(100)))


def test_only_models_that_can_be_run_by_themselves_are_offered() -> None:
    names = (*PARTS, "mmproj-x.gguf", "x.imatrix.gguf", "x-Q4_K_M-imatrix.gguf", "x.gguf")

    assert [file.name for file in whole_models([HubFile(name) for name in names])] == [PARTS[0], *names[-2:]]
