"""What tells who somebody is does not come onto the page."""

import os
from pathlib import Path

import pytest

from tui_llama.doctor.privacy import Privacy, privacy_of_this_user

ALICE = Privacy(["/home/alice", "/data/people/alice"], ["alice", "walrus", "root", ""])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/alice", "~"),
        ("/home/alice/models, 3 files", "~/models, 3 files"),
        ("in /data/people/alice/x and /home/alice/y", "in ~/x and ~/y"),
        ("/home/alice2/x", "/home/…/x"),
        ("/home/bob/x", "/home/…/x"),
        ("/Users/bob", "/Users/…"),
        ("/mnt/alice/x", "/mnt/…/x"),
        ("/mnt/alice.models/x", "/mnt/….models/x"),
        ("/data/alice-models/x", "/data/…-models/x"),
        ("/data/my_alice/x", "/data/my_…/x"),
        ("/run/media/ALICE", "/run/media/…"),
        ("/run/media/bob/stick", "/run/media/…/stick"),
        ("/media/Alice/stick", "/media/…/stick"),
        ("/mnt/disk of alice", "/mnt/disk of …"),
        ("/mnt/malice/x", "/mnt/malice/x"),
        ("/home/bob smith/models", "/home/…/models"),
        ("/net/walrus/x: '/net/walrus'", "/net/…/x: '/net/…'"),
        ("/srv/x", "/srv/x"),
        ("llama, of alice", "llama, of alice"),
        ("http://alice:secret@proxy:80/x", "http://…@proxy:80/x"),
        ("https://user:pa/ss@host", "https://…@host"),
        ("https://user:p@ss@host/x", "https://…@host/x"),
        ("https://host/x and a@b", "https://host/x and a@b"),
        ("key hf_abcdefghijklmnopqrstuvwxyz", "key …"),
        ("plain text", "plain text"),
        ("", ""),
    ],
)
def test_what_is_hidden(text: str, shown: str) -> None:
    assert ALICE.hide(text) == shown


def test_a_home_that_is_the_root_hides_nothing() -> None:
    assert Privacy(["/", ""], []).hide("/usr/share and / alone") == "/usr/share and / alone"


def test_a_row_is_never_endless() -> None:
    assert ALICE.hide("x" * 5000) == "x" * 300 + "…"


def test_whoever_runs_the_program_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home, link = tmp_path / "real", tmp_path / "link"
    home.mkdir()
    link.symlink_to(home)
    monkeypatch.setenv("HOME", str(link))
    privacy = privacy_of_this_user({"USER": "carol", "SUDO_USER": "dave"})

    assert privacy.hide(f"{link}/a, {home}/b, /x/carol/y, /x/dave") == "~/a, ~/b, /x/…/y, /x/…"
    assert privacy.hide(f"/net/{os.uname().nodename}/x") == "/net/…/x"
