"""Which model files are found on a machine, and what a search through others' folders puts up with."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tui_llama import paths
from tui_llama.models import library
from tui_llama.models.library import FoundModel, find_models
from tui_llama.models.starter.file import STARTER_FILE, WORKING_FOLDER_PREFIX

MODEL = b"GGUF" + bytes(20)
DIGEST = "0123456789abcdef" * 4

Find = Callable[..., list[FoundModel]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def find(home: Path, monkeypatch: pytest.MonkeyPatch) -> Find:
    """Searches an empty machine: a home of its own and no variables but those given."""
    monkeypatch.setattr(library, "OLLAMA_SERVICE_FOLDER", home / "service")

    def find_below_home(environment: Mapping[str, str] | None = None) -> list[FoundModel]:
        return find_models(home, environment or {})

    return find_below_home


def put(path: Path, content: bytes = MODEL) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def put_blob(models: Path, digest: str = DIGEST, content: bytes = MODEL) -> Path:
    return put(models / "blobs" / f"sha256-{digest}", content)


def put_manifest(models: Path, name: str, digest: str = f"sha256:{DIGEST}", **changes: object) -> Path:
    layers = [
        {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:" + "f" * 64, "size": 3},
        {"mediaType": "application/vnd.ollama.image.model", "digest": digest, "size": 24},
    ]
    manifest = {"schemaVersion": 2, "config": {"digest": digest}, "layers": layers, **changes}
    return put(models / "manifests" / name, json.dumps(manifest).encode())


def names(models: list[FoundModel]) -> list[str]:
    return [model.name for model in models]


def test_an_empty_machine_has_no_models(find: Find) -> None:
    assert find() == []


def test_a_model_in_our_folder_is_found(find: Find) -> None:
    path = put(paths.models_folder() / "deeper" / "Tiny-1B.Q8_0.gguf", MODEL + bytes(100))
    assert find() == [FoundModel(path, "Tiny-1B.Q8_0", 124, "our folder")]


@pytest.mark.parametrize(
    ("place", "origin"),
    [
        (".cache/huggingface/hub/models--a--b/snapshots/0123abc", "Hugging Face"),
        (".cache/huggingface/hub/models--a--b/snapshots/0123abc/Q4", "Hugging Face"),
        (".lmstudio/models/publisher/repository", "LM Studio"),
        (".cache/lm-studio/models/publisher/repository", "LM Studio"),
        (".cache/llama.cpp", "llama.cpp"),
        ("Library/Caches/llama.cpp", "llama.cpp"),
    ],
)
def test_a_model_is_found_where_other_programs_keep_theirs(find: Find, home: Path, place: str, origin: str) -> None:
    path = put(home / place / "Tiny.gguf")
    assert find() == [FoundModel(path, "Tiny", 24, origin)]


@pytest.mark.parametrize(
    ("variable", "below", "origin"),
    [
        ("HF_HUB_CACHE", "models--a--b/snapshots/0123abc", "Hugging Face"),
        ("HUGGINGFACE_HUB_CACHE", "models--a--b/snapshots/0123abc", "Hugging Face"),
        ("HF_HOME", "hub/models--a--b/snapshots/0123abc", "Hugging Face"),
        ("XDG_CACHE_HOME", "huggingface/hub/models--a--b/snapshots/0123abc", "Hugging Face"),
        ("XDG_CACHE_HOME", "llama.cpp", "llama.cpp"),
        ("LLAMA_CACHE", "", "llama.cpp"),
        ("LOCALAPPDATA", "llama.cpp", "llama.cpp"),
    ],
)
@pytest.mark.parametrize("written_with_tilde", [False, True])
def test_a_variable_moves_where_models_are_looked_for(
    find: Find, home: Path, variable: str, below: str, origin: str, written_with_tilde: bool
) -> None:
    path = put(home / "moved" / below / "Tiny.gguf")
    value = "~/moved" if written_with_tilde else str(home / "moved")
    assert find({variable: value}) == [FoundModel(path, "Tiny", 24, origin)]
    assert find() == []


def test_only_models_of_the_hugging_face_cache_are_looked_at(find: Find, home: Path) -> None:
    put(home / ".cache/huggingface/hub/datasets--a--b/snapshots/0123abc/Tiny.gguf")
    put(home / ".cache/huggingface/hub/models--a--b/blobs/Tiny.gguf")
    assert find() == []


def test_links_of_the_hugging_face_cache_are_followed(find: Find, home: Path) -> None:
    repository = home / ".cache/huggingface/hub/models--a--b"
    put(repository / "blobs" / DIGEST)
    link = repository / "snapshots/0123abc/Tiny.gguf"
    link.parent.mkdir(parents=True)
    link.symlink_to(f"../../blobs/{DIGEST}")
    assert find() == [FoundModel(link, "Tiny", 24, "Hugging Face")]


def test_lm_studios_folders_are_found_where_its_settings_say(find: Find, home: Path) -> None:
    put(home / ".lmstudio-home-pointer", f"{home}/studio\n".encode())
    put(home / "studio/settings.json", json.dumps({"downloadsFolder": f"{home}/downloads", "x": 1}).encode())
    put(home / "studio/models/a/b/One.gguf")
    put(home / "downloads/a/b/Two.gguf")
    assert names(find()) == ["One", "Two"]


@pytest.mark.parametrize(
    "settings",
    [b"", b"[]", b"{", b'{"downloadsFolder": 1}', b'{"downloadsFolder": "a\\u0000b"}', b"[" * 100_000, b"\xff"],
)
def test_settings_of_lm_studio_that_make_no_sense_are_passed_over(find: Find, home: Path, settings: bytes) -> None:
    put(home / ".lmstudio/settings.json", settings)
    put(home / ".lmstudio-home-pointer", b"\0\xff\n")
    put(home / ".lmstudio/models/a/b/Tiny.gguf")
    assert names(find()) == ["Tiny"]


# --- which files are models -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "Tiny.bin",
        "Tiny.gguf.part",
        "mmproj-Tiny-F16.gguf",
        "Tiny-MMPROJ.gguf",
        "Tiny-00002-of-00003.gguf",
        "Tiny-00003-of-00003.gguf",
    ],
)
def test_what_is_no_whole_model_is_left_out(find: Find, name: str) -> None:
    put(paths.models_folder() / name)
    assert find() == []


def test_what_is_being_unpacked_is_no_model_yet(find: Find) -> None:
    put(paths.models_folder() / f"{WORKING_FOLDER_PREFIX}x1y2" / STARTER_FILE)
    assert find() == []


def test_the_first_part_of_a_split_model_stands_for_it(find: Find) -> None:
    for number in (1, 2, 3):
        path = put(paths.models_folder() / f"Tiny-0000{number}-of-00003.gguf", MODEL + bytes(number))
    assert find() == [FoundModel(path.with_name("Tiny-00001-of-00003.gguf"), "Tiny", 3 * 24 + 6, "our folder")]


def test_a_split_model_of_two_snapshots_is_the_one_with_more_parts(find: Find, home: Path) -> None:
    repository = home / ".cache/huggingface/hub/models--a--b"
    for number in (1, 2):
        put(repository / "blobs" / f"{number}", MODEL)
    for snapshot, numbers in (("0123abc", (1,)), ("4567def", (1, 2)), ("89abcde", (1,))):
        for number in numbers:
            link = repository / "snapshots" / snapshot / "Q4" / f"Tiny-0000{number}-of-00002.gguf"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path("../../../blobs") / f"{number}")

    path = repository / "snapshots" / "4567def" / "Q4" / "Tiny-00001-of-00002.gguf"
    assert find() == [FoundModel(path, "Tiny", 48, "Hugging Face")]


def test_the_ending_may_be_in_capitals(find: Find) -> None:
    put(paths.models_folder() / "Tiny.GGUF")
    assert names(find()) == ["Tiny"]


@pytest.mark.parametrize("content", [b"", b"GGU", b"GGML" + bytes(20), b"<!DOCTYPE html>"])
def test_a_file_that_does_not_begin_as_a_model_is_listed_in_our_folder_alone(
    find: Find, home: Path, content: bytes
) -> None:
    put(home / ".lmstudio" / "models" / "Theirs.gguf", content)
    put(paths.models_folder() / "Ours.gguf", content)
    assert names(find()) == ["Ours"]


def test_what_is_no_file_is_left_out(find: Find) -> None:
    (paths.models_folder() / "folder.gguf").mkdir(parents=True)
    os.mkfifo(paths.models_folder() / "pipe.gguf")
    (paths.models_folder() / "dangling.gguf").symlink_to("nowhere")
    assert find() == []


def test_a_name_that_is_no_text_can_still_be_kept_and_shown(find: Find) -> None:
    folder = paths.models_folder()
    folder.mkdir(parents=True)
    (folder / os.fsdecode(b"a\xffb.gguf")).write_bytes(MODEL)
    (model,) = find()
    assert model.name == "a?b"
    assert model.path.read_bytes() == MODEL


# --- files that several folders lead to -----------------------------------------------------------


def test_a_file_is_listed_once_for_whoever_comes_first(find: Find, home: Path) -> None:
    original = put(home / ".lmstudio/models/a/b/Original.gguf")
    folder = paths.models_folder()
    folder.mkdir(parents=True)
    (folder / "Link.gguf").symlink_to(original)
    (folder / "Other link.gguf").symlink_to(original)
    os.link(original, home / ".lmstudio/models/a/b/Zweiter.gguf")
    assert names(find()) == ["Link"]


def test_two_snapshots_of_one_file_are_one_model(find: Find, home: Path) -> None:
    repository = home / ".cache/huggingface/hub/models--a--b"
    blob = put(repository / "blobs" / DIGEST)
    for snapshot in ("1", "2"):
        (repository / "snapshots" / snapshot).mkdir(parents=True)
        (repository / "snapshots" / snapshot / "Tiny.gguf").symlink_to(blob)
    assert len(find()) == 1


def test_models_are_listed_by_origin_and_then_by_name(find: Find, home: Path) -> None:
    for name in ("b-11B", "b-3B", "B-1B", "a", "10"):
        put(paths.models_folder() / f"{name}.gguf")
    put(home / ".cache/llama.cpp/a.gguf")
    put_blob(home / ".ollama/models")
    put_manifest(home / ".ollama/models", "registry.ollama.ai/library/a/latest")
    put(home / ".lmstudio/models/a/b/a.gguf")
    found = find()
    assert names(found) == ["a", "B-1B", "b-3B", "b-11B", "10", "a", "a", "a:latest"]
    assert [model.origin for model in found[5:]] == ["LM Studio", "llama.cpp", "Ollama"]


# --- folders that resist --------------------------------------------------------------------------


def test_loops_of_folders_come_to_an_end(find: Find) -> None:
    folder = paths.models_folder()
    put(folder / "a" / "Tiny.gguf")
    (folder / "a" / "loop").symlink_to(folder)
    (folder / "self").symlink_to("self")
    assert names(find()) == ["Tiny"]


def test_a_linked_folder_is_entered(find: Find, home: Path) -> None:
    put(home / "elsewhere" / "Tiny.gguf")
    folder = paths.models_folder()
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(home / "elsewhere")
    assert names(find()) == ["Tiny"]


def test_folders_are_entered_only_so_deep(find: Find) -> None:
    folder = paths.models_folder()
    put(folder.joinpath(*["deep"] * library.MAX_DEPTH, "Found.gguf"))
    put(folder.joinpath(*["deep"] * (library.MAX_DEPTH + 1), "Lost.gguf"))
    assert names(find()) == ["Found"]


def test_a_search_ends_after_so_many_entries(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "MAX_ENTRIES", 5)
    for number in range(20):
        put(paths.models_folder() / f"{number}.gguf")
    assert len(find()) == 5


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_passed_over(find: Find) -> None:
    put(paths.models_folder() / "open.gguf")
    put(paths.models_folder() / "closed.gguf").chmod(0)
    closed = put(paths.models_folder() / "closed" / "lost.gguf").parent
    closed.chmod(0)
    assert names(find()) == ["open"]
    closed.chmod(0o700)


def test_a_folder_that_cannot_be_listed_is_passed_over(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = put(paths.models_folder() / "closed" / "lost.gguf").parent
    put(paths.models_folder() / "open.gguf")
    really_scan = os.scandir

    def scan(folder: Path) -> object:
        if folder == closed:
            raise PermissionError
        return really_scan(folder)

    monkeypatch.setattr(os, "scandir", scan)
    assert names(find()) == ["open"]


# --- Ollama ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("manifest", "name"),
    [
        ("registry.ollama.ai/library/llama3.2/1b", "llama3.2:1b"),
        ("ollama.com/library/llama3.2/1b", "llama3.2:1b"),
        ("registry.ollama.ai/someone/mine/latest", "someone/mine:latest"),
        ("hf.co/someone/Mine-GGUF/Q8_0", "hf.co/someone/Mine-GGUF:Q8_0"),
    ],
)
def test_ollamas_models_are_found_by_their_manifests(find: Find, home: Path, manifest: str, name: str) -> None:
    blob = put_blob(home / ".ollama/models")
    put_manifest(home / ".ollama/models", manifest)
    assert find() == [FoundModel(blob, name, 24, "Ollama")]


def test_ollamas_folder_can_be_moved_and_the_services_is_looked_at_too(find: Find, home: Path) -> None:
    for folder, digest in (("moved", "a" * 64), ("service", "b" * 64)):
        put_blob(home / folder, digest)
        put_manifest(home / folder, f"registry.ollama.ai/library/{folder}/1", f"sha256:{digest}")
    assert names(find({"OLLAMA_MODELS": str(home / "moved")})) == ["moved:1", "service:1"]


@pytest.mark.parametrize(
    "digest",
    [
        "",
        "sha256:",
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 65,
        "sha256:" + "A" * 64,
        f"sha256-{DIGEST}",
        f"sha256:{DIGEST}\n",
        f"sha256:{DIGEST}/../../secret",
        "../../secret",
        "/etc/passwd",
        "sha256:../../../secret",
        "sha512:" + "a" * 128,
    ],
)
def test_a_digest_that_is_none_leads_nowhere(find: Find, home: Path, digest: str) -> None:
    put(home / ".ollama/secret")
    put(home / "secret")
    put_blob(home / ".ollama/models")
    put_manifest(home / ".ollama/models", "registry.ollama.ai/library/evil/1", digest)
    assert find() == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[1, 2]",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"layers": null}',
        b'{"layers": [null]}',
        b'{"layers": [{"mediaType": 1, "digest": 2}]}',
        b'{"layers": []}',
        b'{"layers": [{}]}',
        b" " * (library.MAX_SETTINGS_BYTES + 1),
    ],
    ids=lambda content: repr(content[:20]),
)
def test_a_manifest_that_makes_no_sense_is_passed_over(find: Find, home: Path, content: bytes) -> None:
    models = home / ".ollama/models"
    put_blob(models)
    put(models / "manifests/registry.ollama.ai/library/a/bad", content)
    put_manifest(models, "registry.ollama.ai/library/a/good")
    assert names(find()) == ["a:good"]


def test_a_manifest_whose_weights_are_missing_or_of_another_format_is_passed_over(find: Find, home: Path) -> None:
    models = home / ".ollama/models"
    put_manifest(models, "registry.ollama.ai/library/missing/1")
    put_blob(models, "e" * 64, b"safetensors")
    put_manifest(models, "registry.ollama.ai/library/other/1", "sha256:" + "e" * 64)
    assert find() == []


def test_two_tags_of_the_same_weights_are_one_model(find: Find, home: Path) -> None:
    models = home / ".ollama/models"
    put_blob(models)
    put_manifest(models, "registry.ollama.ai/library/a/1b")
    put_manifest(models, "registry.ollama.ai/library/a/latest")
    assert names(find()) == ["a:1b"]
