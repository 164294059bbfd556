"""Stored prompts and the room that they may take."""

from pathlib import Path

from tests.fakes.stored_prompts import OTHER_OWNER, cache_on, store
from tui_llama.doctor.prompts import look_at_prompts, prompts_section
from tui_llama.files.storage import DiskStorage


def test_what_is_stored_is_told_beside_what_may_be() -> None:
    section = prompts_section(2_000_000, 8_000_000_000)

    assert section.rows[0].text == "2 MB of 8.0 GB"
    assert section.problems == ()


def test_more_than_may_be_is_told_and_no_reason_to_fail() -> None:
    (problem,) = prompts_section(3_000_000, 2_000_000).problems

    assert problem.is_advice and "cache clear" in problem.remedy


def test_the_budget_is_the_settings(tmp_path: Path) -> None:
    store(cache_on(tmp_path), range(1200), OTHER_OWNER)
    storage = DiskStorage(tmp_path)

    assert look_at_prompts(storage, 3).rows[0].text.endswith("of 3 MB")
    assert look_at_prompts(storage, 0).rows[0].text.endswith("B")
    assert look_at_prompts(storage, -1).rows[0].text.endswith("nothing more is stored")
    assert isinstance(look_at_prompts(storage, 3).rows[0].value, int) and look_at_prompts(storage, 3).rows[0].value


def test_where_nothing_is_stored_nothing_is_made(tmp_path: Path) -> None:
    assert look_at_prompts(DiskStorage(tmp_path / "prompts"), 0).rows[0].value == 0
    assert not (tmp_path / "prompts").exists()
