"""Examines the program itself: its version, Python, the system and the packages that it needs."""

import platform
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Final

from tui_llama import __version__
from tui_llama.doctor.report import Problem, Row, Section

TITLE: Final = "Program"

NEEDED_PACKAGES: Final = (
    *("charset-normalizer", "click", "gguf", "httpx2", "jinja2", "llguidance", "llvmlite", "markdown-it-py"),
    *(
        "msgspec",
        "numba",
        "numpy",
        "pathspec",
        "platformdirs",
        "rich",
        "sentencepiece",
        "textual",
        "tokenizers",
        "wcwidth",
    ),
)
OPTIONAL_PACKAGES: Final = ("huggingface_hub", "keyring", "prometheus_client", "starlette", "uvicorn")

_GIT_SECONDS: Final = 5.0


def look_at_program() -> Section:
    """Returns the section of the program. Imports none of the packages."""
    root = Path(__file__).resolve().parents[2]
    versions = {name: _installed_version(name) for name in (*NEEDED_PACKAGES, *OPTIONAL_PACKAGES)}
    return program_section(str(root), _commit(root), versions)


def program_section(root: str, commit: str, versions: Mapping[str, str | None]) -> Section:
    """Returns the section of the program.

    Args:
        root: The folder that contains the package.
        commit: Git's description of the checkout; empty if it is not one.
        versions: The versions of packages; None for a package that is not installed.
    """
    installed = [f"{name} {version}" for name, version in versions.items() if version is not None]
    missing = [name for name in NEEDED_PACKAGES if name in versions and versions[name] is None]
    bits = sys.maxsize.bit_length() + 1
    rows = (
        Row("version", f"{__version__} (commit {commit})" if commit else __version__),
        Row("in", root),
        Row("Python", f"{platform.python_implementation()} {platform.python_version()}, {bits} bits"),
        Row("system", _system()),
        Row("kernel", f"{platform.system()} {platform.release()} {platform.machine()}"),
        Row("C library", " ".join(platform.libc_ver()).strip() or "unknown"),
        Row("packages", ", ".join(installed)),
    )
    if not missing:
        return Section(TITLE, rows)
    text = f"Packages are missing: {', '.join(missing)}."
    return Section(TITLE, rows, (Problem(text, "Install the program again, with its packages."),))


def _installed_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.mac_ver()[0] or platform.system()


def _commit(root: Path) -> str:
    """Returns git's description of a checkout, else an empty text.

    Looks for `.git` in the root only, because an installed package may lie below another repository of the user.
    """
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_GIT_SECONDS, check=True
        )
        return done.stdout.strip()
    return ""
