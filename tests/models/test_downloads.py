"""How fast a download is, how long it takes, and in which words."""

from pathlib import Path

import pytest

from tui_llama.models.downloads import (
    RATE_SECONDS,
    DownloadMeter,
    Progress,
    duration_words,
    no_space,
    size_words,
)

MB = 10**6


def meter_after(*marks: tuple[float, int], step: str = "downloading", total_bytes: int = 100 * MB) -> DownloadMeter:
    """A meter that was told these (seconds, bytes)."""
    meter = DownloadMeter()
    for now, done_bytes in marks:
        meter.note(Progress(step, done_bytes, total_bytes), now)
    return meter


def test_a_meter_that_was_told_nothing_knows_nothing() -> None:
    meter = DownloadMeter()
    assert (meter.fraction, meter.bytes_per_second, meter.words()) == (0.0, 0.0, "")


def test_the_rate_is_that_of_the_bytes_since_the_first_mark() -> None:
    assert meter_after((10, 0), (12, 6 * MB)).bytes_per_second == 3 * MB


def test_one_mark_gives_no_rate() -> None:
    assert meter_after((10, 5 * MB)).bytes_per_second == 0


def test_marks_that_are_close_together_give_no_rate_yet() -> None:
    assert meter_after((10, 0), (10.4, 6 * MB)).bytes_per_second == 0
    assert meter_after((10, 0), (10.5, 6 * MB)).bytes_per_second == 12 * MB


def test_what_was_there_before_counts_for_the_share_but_not_for_the_rate() -> None:
    meter = meter_after((0, 50 * MB), (1, 51 * MB))
    assert (meter.fraction, meter.bytes_per_second) == (0.51, MB)


def test_only_the_last_seconds_count() -> None:
    slow_then_fast = [(second, second * MB) for second in range(20)] + [(20 + n, (20 + 10 * n) * MB) for n in range(8)]
    assert meter_after(*slow_then_fast).bytes_per_second == 10 * MB


def test_a_download_that_stands_still_slows_down_to_nothing() -> None:
    moving = [(second, 10 * second * MB) for second in range(3)]
    standing = [(2 + second, 20 * MB) for second in range(1, int(RATE_SECONDS) + 2)]
    assert meter_after(*moving).bytes_per_second == 10 * MB
    assert meter_after(*moving, *standing).bytes_per_second == 0


def test_two_marks_far_apart_still_give_a_rate() -> None:
    assert meter_after((0, 0), (100, 100 * MB)).bytes_per_second == MB


def test_another_step_begins_anew() -> None:
    meter = meter_after((0, 0), (1, 90 * MB))
    meter.note(Progress("checking", 20 * MB, 200 * MB), 2)
    assert (meter.fraction, meter.bytes_per_second) == (0.1, 0.0)
    assert meter.words() == "checking 10 % of 200 MB"
    meter.note(Progress("checking", 80 * MB, 200 * MB), 3)
    assert meter.bytes_per_second == 60 * MB


def test_a_download_that_goes_backwards_begins_anew() -> None:
    meter = meter_after((0, 0), (1, 90 * MB), (2, 10 * MB))
    assert meter.bytes_per_second == 0
    meter.note(Progress("downloading", 14 * MB, 100 * MB), 4)
    assert meter.bytes_per_second == 2 * MB


def test_the_share_is_never_more_than_all() -> None:
    meter = meter_after((0, 0), (1, 101 * MB))
    assert meter.fraction == 1.0
    assert meter.words() == "downloading 100 % of 100 MB"


def test_the_words_say_share_size_rate_and_time_left() -> None:
    assert meter_after((0, 10 * MB), (2, 34 * MB)).words() == "downloading 34 % of 100 MB · 12 MB/s · 6 s left"


def test_the_words_leave_out_what_nobody_knows() -> None:
    assert meter_after((0, 34 * MB)).words() == "downloading 34 % of 100 MB"
    assert meter_after((0, 0), (1, 34 * MB), total_bytes=0).words() == "downloading 34 MB"
    assert meter_after((0, 0), step="looking", total_bytes=0).words() == "looking"


def test_a_share_is_rounded_down_so_that_all_means_all() -> None:
    assert meter_after((0, 99_999_999)).words() == "downloading 99 % of 100 MB"


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [
        *((0, "0 kB"), (999, "1 kB"), (98_362_432, "98 MB"), (4_700_000_000, "4.7 GB")),
        *((1_000, "1 kB"), (999_499, "999 kB"), (999_501, "1 MB"), (1_000_000, "1 MB")),
        *((999_499_999, "999 MB"), (999_999_999, "1.0 GB"), (10**9, "1.0 GB"), (10**12, "1000.0 GB")),
    ],
)
def test_a_size_is_written_as_people_write_it(size_bytes: int, words: str) -> None:
    assert size_words(size_bytes) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((0.0, "1 s"), (0.4, "1 s"), (5.4, "5 s"), (99.4, "99 s"), (99.6, "2 min"), (180.0, "3 min")),
        *((5_900.0, "98 min"), (5_999.0, "2 h"), (7_200.0, "2 h"), (86_400.0, "24 h")),
    ],
)
def test_a_time_is_said_as_people_say_it(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words


def test_a_full_disk_is_told_with_both_sizes_and_the_folder() -> None:
    error = no_space(Path("/models"), 2_500_000_000, 98_000_000)
    assert str(error) == "the disk of /models is too full: 2.5 GB are needed, 98 MB are free"
    assert error.hint


def test_before_there_is_a_wheel_no_time_is_told() -> None:
    meter = DownloadMeter()
    for now in (0.0, 0.1, 0.5):
        meter.note(Progress("downloading", 0, 92_871_040), now)
    assert "left" not in meter.words() and "/s" not in meter.words()
