import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_llama.models.downloads import DownloadError
from tui_llama.models.hub.reference import HubReference, is_safe_path, parse_reference

REPOSITORY = "bartowski/SmolLM2-135M-Instruct-GGUF"
FILE = "SmolLM2-135M-Instruct-Q4_K_M.gguf"


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (f"hf:{REPOSITORY}", HubReference(REPOSITORY)),
        (f"  HF:{REPOSITORY}\n", HubReference(REPOSITORY)),
        (f"hf:{REPOSITORY}:{FILE}", HubReference(REPOSITORY, file=FILE)),
        (f"hf:{REPOSITORY}:Q4_K_M/{FILE}", HubReference(REPOSITORY, file=f"Q4_K_M/{FILE}")),
        (f"hf:{REPOSITORY}:q4_k_m", HubReference(REPOSITORY, quantization="q4_k_m")),
        (f"hf:{REPOSITORY}:UD-Q4_K_XL", HubReference(REPOSITORY, quantization="UD-Q4_K_XL")),
        (f"hf:{REPOSITORY}:latest", HubReference(REPOSITORY)),
        (f"hf:{REPOSITORY}@v1.0", HubReference(REPOSITORY, revision="v1.0")),
        (f"hf:{REPOSITORY}@refs/pr/3:Q8_0", HubReference(REPOSITORY, quantization="Q8_0", revision="refs/pr/3")),
        (f"hf:{REPOSITORY}:Q8_0@v1", HubReference(REPOSITORY, quantization="Q8_0", revision="v1")),
        (f"hf:{REPOSITORY}:{FILE}@v1", HubReference(REPOSITORY, file=FILE, revision="v1")),
        (f"hf:{REPOSITORY}:a@b.gguf", HubReference(REPOSITORY, file="a@b.gguf")),
        (f"hf://{REPOSITORY}", HubReference(REPOSITORY)),
        (f"hf://{REPOSITORY}@v1/sub/{FILE}", HubReference(REPOSITORY, file=f"sub/{FILE}", revision="v1")),
        (f"https://huggingface.co/{REPOSITORY}", HubReference(REPOSITORY)),
        (f"https://huggingface.co/{REPOSITORY}/", HubReference(REPOSITORY)),
        (f"http://www.huggingface.co/{REPOSITORY}?x=1#files", HubReference(REPOSITORY)),
        (f"huggingface.co/{REPOSITORY}", HubReference(REPOSITORY)),
        (f"hf.co/{REPOSITORY}:Q4_K_M", HubReference(REPOSITORY, quantization="Q4_K_M")),
        (f"https://hf.co/{REPOSITORY}:sub/{FILE}", HubReference(REPOSITORY, file=f"sub/{FILE}")),
        (f"https://huggingface.co/{REPOSITORY}/tree/main", HubReference(REPOSITORY)),
        (f"https://huggingface.co/{REPOSITORY}/tree/v1/", HubReference(REPOSITORY, revision="v1")),
        (f"https://huggingface.co/{REPOSITORY}/blob/main/{FILE}", HubReference(REPOSITORY, file=FILE)),
        (
            f"https://huggingface.co/{REPOSITORY}/resolve/refs%2Fpr%2F3/a%20b/{FILE}?download=true",
            HubReference(REPOSITORY, file=f"a b/{FILE}", revision="refs/pr/3"),
        ),
    ],
)
def test_what_people_type_and_paste_is_understood(typed: str, expected: HubReference) -> None:
    reference = parse_reference(typed)

    assert reference == expected
    assert parse_reference(str(expected)) == expected


@pytest.mark.parametrize(
    "typed",
    ["", "starter", "./model.gguf", "owner/repo", "https://example.org/o/r", "hugging", "hf.coffee/x", "shf:o/r"],
)
def test_what_is_no_name_on_the_hub_is_left_to_others(typed: str) -> None:
    assert parse_reference(typed) is None


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("hf:", "an owner and a name"),
        ("hf:model", "an owner and a name"),
        ("hf:o/r/x", "an owner and a name"),
        ("hf:o/r:", "missing at the end"),
        ("hf:o/r@", "missing at the end"),
        ("hf:o/r:Q8_0@", "missing at the end"),
        ("hf:o/r@a:Q8_0@b", "two revisions"),
        ("hf:o/r@../../x", "revision"),
        ("hf:../r", "an owner and a name"),
        ("hf:o--x/r", "an owner and a name"),
        ("hf:o/r:../../x.gguf", "the file name is not valid"),
        ("hf:o/r:/etc/x.gguf", "the file name is not valid"),
        ("hf:o/r:C:\\x.gguf", "the file name is not valid"),
        ("hf:o/r:model.safetensors/x", "only GGUF"),
        ("hf:o/r:Q4 K", "the quantization is not valid"),
        ("hf:o/r x", "an owner and a name"),
        ("hf.co", "an owner and a name"),
        ("https://huggingface.co/", "an owner and a name"),
        ("https://huggingface.co/datasets/o/r", "it is not a model"),
        ("https://huggingface.co/o/r/blob/main", "does not name a file"),
        ("https://huggingface.co/o/r/tree/main/folder", "does not name a file"),
        ("https://huggingface.co/o/r/discussions", "does not name a file"),
        ("https://huggingface.co/o/r/resolve/main/..%2F..%2Fx.gguf", "the file name is not valid"),
        ("hf://datasets/o/r", "it is not a model"),
    ],
)
def test_what_begins_like_a_name_but_is_none_is_refused_with_the_forms(typed: str, reason: str) -> None:
    with pytest.raises(DownloadError, match=reason) as caught:
        parse_reference(typed)

    assert "hf:OWNER/REPO" in caught.value.hint
    assert "\n" not in str(caught.value)


@given(st.text(max_size=40))
def test_nothing_that_is_typed_can_lead_out_of_the_cache(text: str) -> None:
    for typed in (f"hf:o/r:{text}.gguf", f"hf:o/r@{text}", f"hf:{text}", f"hf.co/o/r/resolve/{text}/{text}.gguf"):
        try:
            reference = parse_reference(typed)
        except DownloadError:
            continue
        if reference is not None:
            assert ".." not in reference.revision
            assert not reference.file or is_safe_path(reference.file)
            assert reference.repository.count("/") == 1
