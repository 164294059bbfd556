"""Downloads of split models: all parts or none get their names, and what was fetched before a stop is not again."""

from pathlib import Path

import pytest

from tests.fakes.fake_hub import FakeHub, Fault
from tests.models.hub.one_repository import REPOSITORY, ignore, repository_folder
from tui_llama.models.downloads import Downloaded, DownloadStoppedError, Progress
from tui_llama.models.hub import fetch as fetch_module
from tui_llama.models.hub.fetch import fetch
from tui_llama.models.hub.reference import HubReference
from tui_llama.models.pull import pull
from tui_llama.models.record import remove_pulled, was_pulled

NAMES = tuple(f"Q8_0/tiny-Q8_0-0000{number}-of-00003.gguf" for number in (1, 2, 3))
CONTENTS = {name: b"GGUF" + bytes([number]) * (100_000 * (number + 1)) for number, name in enumerate(NAMES)}
TOTAL_BYTES = sum(map(len, CONTENTS.values()))
SPLIT = HubReference(REPOSITORY, quantization="Q8_0")


@pytest.fixture
def folder(hub: FakeHub, cache_folder: Path) -> Path:
    """The folder of the parts in the cache, where nothing is yet."""
    commit = hub.add(REPOSITORY, CONTENTS)
    return repository_folder(cache_folder) / "snapshots" / commit


def test_all_parts_are_fetched_and_are_there_from_then_on(hub: FakeHub, folder: Path) -> None:
    first, second = fetch(SPLIT, ignore), fetch(SPLIT, ignore)

    path, *others = (str(folder / name) for name in NAMES)
    assert first == Downloaded(path, was_there=False, companions=tuple(others))
    assert second == Downloaded(path, was_there=True)
    assert {name: (folder / name).read_bytes() for name in NAMES} == CONTENTS
    assert len(hub.asked("/content/")) == 3


def test_progress_is_of_all_parts_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_module, "REPORT_SECONDS", 0.0)
    reports: list[Progress] = []

    fetch(SPLIT, reports.append)

    assert folder.is_dir()
    loading = [report.done_bytes for report in reports if report.step == "downloading"]
    assert loading == sorted(loading)
    assert loading[-1] == TOTAL_BYTES
    assert {report.total_bytes for report in reports[1:]} == {TOTAL_BYTES}


def test_no_part_has_its_name_before_all_are_here_and_the_next_call_goes_on(hub: FakeHub, folder: Path) -> None:
    def stop_in_the_third(progress: Progress) -> None:
        if progress.step == "checking" and progress.done_bytes == TOTAL_BYTES:
            raise DownloadStoppedError

    with pytest.raises(DownloadStoppedError):
        fetch(SPLIT, stop_in_the_third)
    assert not folder.exists()

    assert fetch(SPLIT, ignore) == Downloaded(
        str(folder / NAMES[0]), was_there=False, companions=tuple(str(folder / name) for name in NAMES[1:])
    )
    assert len(hub.asked("/content/")) == 3


def test_a_part_that_is_missing_in_the_cache_alone_is_fetched(hub: FakeHub, folder: Path) -> None:
    fetch(SPLIT, ignore)
    blob = (folder / NAMES[1]).resolve()
    (folder / NAMES[1]).unlink()
    blob.unlink()

    assert fetch(SPLIT, ignore).companions == (str(folder / NAMES[1]),)
    assert len(hub.asked("/content/")) == 4


@pytest.mark.usefixtures("waits")
def test_without_a_network_a_model_with_all_parts_is_found_and_another_is_not(hub: FakeHub, folder: Path) -> None:
    fetch(SPLIT, ignore)
    hub.fail("/api/", Fault(status=503))

    assert fetch(SPLIT, ignore).path == str(folder / NAMES[0])
    (folder / NAMES[2]).unlink()
    with pytest.raises(Exception, match="503"):
        fetch(SPLIT, ignore)


def test_a_split_model_that_was_pulled_is_removed_with_all_parts(folder: Path, cache_folder: Path) -> None:
    downloaded = pull(f"hf:{REPOSITORY}:Q8_0", ignore)

    assert was_pulled(Path(downloaded.path))
    assert remove_pulled(Path(downloaded.path)) == TOTAL_BYTES
    assert not [path for path in cache_folder.rglob("*") if path.suffix == ".gguf" or path.parent.name == "blobs"]
    assert folder.is_dir()
