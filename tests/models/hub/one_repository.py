"""A hub with one repository: what it has, how a test asks for it, and what then lies in the cache."""

import os
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from tests.fakes.fake_hub import FakeHub
from tests.patience import HANG_SECONDS
from tui_llama.models.downloads import Progress
from tui_llama.models.hub.reference import HubReference

REPOSITORY = "owner/tiny-GGUF"
NAME = "tiny-Q4_K_M.gguf"
CONTENT = b"GGUF" + bytes(range(256)) * 1024
REFERENCE = HubReference(REPOSITORY, file=NAME)
TOKEN = "hf_secretsecretsecret"
CHILD = """
import sys
from tui_llama.errors import UserError
from tui_llama.models.hub import fetch, reference
fetch.REPORT_SECONDS = 0
def report(progress):
    print(progress.step, progress.done_bytes, flush=True)
try:
    done = fetch.fetch(reference.parse_reference(sys.argv[1]), report)
    print("path", done.path, done.was_there)
except UserError as error:
    print("error", error, "|", error.hint)
"""


def use_endpoint(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    huggingface_hub.close_session()
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def ignore(_progress: Progress) -> None:
    """Does not care how far it is."""


def unfinished(cache_folder: Path, hub: FakeHub, name: str = NAME) -> Path:
    return repository_folder(cache_folder) / "blobs" / f"{hub.content_hash(REPOSITORY, name)}.incomplete"


def repository_folder(cache_folder: Path) -> Path:
    return cache_folder / "models--owner--tiny-GGUF"


def whole_files(cache_folder: Path) -> list[Path]:
    """Everything in the cache that another program could take for a whole file."""
    folders = (repository_folder(cache_folder) / "blobs", repository_folder(cache_folder) / "snapshots")
    files = [path for folder in folders for path in folder.rglob("*") if path.is_symlink() or path.is_file()]
    return [path for path in files if path.suffix != ".incomplete"]


def child_environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(("HF_", "HTTP", "ALL_P"))}
    return {**kept, **variables}


def run_child(typed: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "always", "-c", CHILD, typed]
    return subprocess.run(
        command, env=child_environment(**variables), capture_output=True, text=True, timeout=HANG_SECONDS, check=True
    )
