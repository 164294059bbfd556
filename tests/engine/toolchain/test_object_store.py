"""Code on disk: where it is kept, that stale or damaged code is not used, and what is removed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.toolchain.doubling import DOUBLED
from tui_llama import engine
from tui_llama.engine.toolchain import object_store
from tui_llama.engine.toolchain.object_store import Kernel, keep, kernel_sources, read
from tui_llama.files import own_folders

ENGINE = Path(engine.__file__).parent


def test_a_kernel_is_read_from_its_line_as_it_was() -> None:
    for kernel in (Kernel("attention.kernel", "attention", "ppiip"), Kernel("tests", "doubled", "i", returns=True)):
        assert Kernel.from_line(kernel.line) == kernel


def test_what_is_kept_is_read_and_nothing_else(kept: Path) -> None:
    code = read(DOUBLED)
    assert code and kept.read_bytes().endswith(code) and DOUBLED.is_kept
    assert sorted(path.name for path in kept.parent.iterdir()) == [own_folders.MARK_FILE, kept.name]
    assert kept.stat().st_mode & 0o777 == 0o600
    kept.write_bytes(kept.read_bytes()[:-1])
    assert read(DOUBLED) is None
    kept.unlink()
    assert read(DOUBLED) is None and not DOUBLED.is_kept


def test_where_nothing_can_be_kept_keeping_raises(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(own_folders, "make_marked_folder", refuse)
    with pytest.raises(OSError, match="Read-only"):
        keep(DOUBLED, b"code")


def test_every_source_of_a_kernel_is_part_of_the_hash() -> None:
    """Whatever a module of kernels imports of the engine, and what its compiled functions take constants from."""
    script = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(f"tui_llama.engine.{name}")
names = (name.removeprefix("tui_llama.engine.") for name in sys.modules if name.startswith("tui_llama.engine."))
print(*(name.replace(".", "/") + ".py" for name in names))
"""
    hashed = {path.relative_to(ENGINE).as_posix() for path in kernel_sources()}
    kernels = [".".join(path.relative_to(ENGINE).with_suffix("").parts) for path in (ENGINE / "kernels").rglob("*.py")]
    done = subprocess.run([sys.executable, "-c", script, *kernels], capture_output=True, text=True, check=True)
    imported = {name for name in done.stdout.split() if (ENGINE / name).exists()}
    assert hashed >= {"kernels/elementwise.py", "kernels/ir/simd.py", "layouts/plan_row.py"}
    # What only loads code, and how memory is asked for, changes no instruction.
    assert imported - hashed == {"toolchain/object_store.py", "machine/memory.py"}


def test_numba_is_imported_in_the_kernels_and_their_compiler_only() -> None:
    importing = {
        path.relative_to(ENGINE).as_posix()
        for path in ENGINE.rglob("*.py")
        if re.search(
            r"^\s*(from|import) (numba|tui_llama\.engine\.(kernels|toolchain\.numba_codegen))\b",
            path.read_text(encoding="utf-8"),
            re.M,
        )
    }
    outside = {name for name in importing if not name.startswith("kernels/")}
    assert outside == {"toolchain/numba_codegen.py", "toolchain/compiler_process.py"}


# --- the folder -------------------------------------------------------------------------------------------------------

A_VERSION = "0123456789abcdef"


def age(folder: Path) -> Path:
    """A folder that nobody has changed for long."""
    os.utime(folder, (1, 1))
    return folder


def looked_at_again(empty_folder: Path) -> list[str]:
    """What lies beside the folder of this version once that was looked for again."""
    object_store.code_folder()
    return sorted(path.name for path in empty_folder.parent.iterdir() if path != empty_folder)


def test_folders_of_other_versions_go_when_they_were_not_used_for_long(kept: Path) -> None:
    fresh, old, unmarked = (kept.parent.with_name(digit * 16) for digit in "abc")
    for folder in (fresh, old, unmarked):
        if folder is unmarked:
            folder.mkdir()
        else:
            own_folders.make_marked_folder(folder)
        (folder / kept.name).write_bytes(kept.read_bytes())
    (old / f".{kept.name}.{A_VERSION}.part").write_bytes(b"half of ")
    age(old), age(unmarked)
    assert looked_at_again(kept.parent) == [fresh.name]


def test_what_is_not_ours_stays_where_the_user_lets_kernels_be_kept(empty_folder: Path, tmp_path: Path) -> None:
    theirs, named_alike = empty_folder.with_name("theirs"), empty_folder.with_name(A_VERSION)
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    for folder in (theirs, named_alike, elsewhere):
        folder.mkdir()
        (folder / "letter.txt").write_text("mine")
        (folder / "tests.doubled.o").write_bytes(b"an object of another program")
        age(folder)
    empty_folder.with_name("f" * 16).symlink_to(elsewhere)
    assert looked_at_again(empty_folder) == [A_VERSION, "f" * 16, "theirs"]
    assert all(len(list(folder.iterdir())) == 2 for folder in (theirs, named_alike, elsewhere))
