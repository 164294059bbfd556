"""How long a hub that is busy or out of order is waited for."""

from pathlib import Path

import pytest

from tests.fakes import fake_hub
from tests.fakes.fake_hub import FakeHub, Fault
from tests.models.hub.one_repository import CONTENT, REFERENCE, ignore
from tui_llama.models.downloads import DownloadError, Progress
from tui_llama.models.hub.fetch import fetch


def test_a_short_wait_that_the_hub_asks_for_is_kept_and_shown(hub: FakeHub, waits: list[float]) -> None:
    hub.fail("/content/", Fault(status=429, headers={"Retry-After": "7"}), times=1)
    reports: list[Progress] = []

    done = fetch(REFERENCE, reports.append)

    assert Path(done.path).read_bytes() == CONTENT
    assert sum(waits) == 7
    steps = [one.step for one in reports if one.step.startswith("waiting")]
    assert (steps[0], steps[-1]) == ("waiting 7 s for the hub", "waiting 1 s for the hub")


@pytest.mark.parametrize(
    ("headers", "said", "waited_seconds"),
    [
        ({"Retry-After": "45"}, "to wait 45 seconds", 0),
        ({"Retry-After": "3600"}, "to wait 60 minutes", 0),
        ({"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}, "minutes", 0),
        ({"RateLimit": '"api";r=0;t=300'}, "to wait 5 minutes", 0),
        ({"Retry-After": "20"}, "to wait 20 seconds", 20),
        ({"Retry-After": "0"}, "to wait 0 seconds", 30),
        ({"Retry-After": "soon"}, "too many requests", 0.5 + 1 + 2 + 4),
        ({}, "too many requests", 0.5 + 1 + 2 + 4),
    ],
)
def test_a_longer_wait_is_left_to_the_user(
    hub: FakeHub, waits: list[float], headers: dict[str, str], said: str, waited_seconds: float
) -> None:
    hub.fail("/api/", Fault(status=429, headers=headers))

    with pytest.raises(DownloadError, match="too many requests") as caught:
        fetch(REFERENCE, ignore)

    assert said in str(caught.value)
    assert sum(waits) == waited_seconds


def test_what_the_hub_asks_to_wait_adds_up_over_a_download(hub: FakeHub, waits: list[float]) -> None:
    busy = Fault(status=429, headers={"Retry-After": "16"})
    hub.fail("/api/", busy, times=1)
    hub.fail("/resolve/", busy, times=1)

    with pytest.raises(DownloadError, match="to wait 16 seconds"):
        fetch(REFERENCE, ignore)
    assert sum(waits) == 16


def test_a_hub_that_is_out_of_order_for_a_moment_is_asked_again(hub: FakeHub, waits: list[float]) -> None:
    hub.fail("/api/", fake_hub.OUT_OF_ORDER, times=2)
    hub.fail("/resolve/", Fault(status=500), times=2)

    assert Path(fetch(REFERENCE, ignore).path).read_bytes() == CONTENT
    assert sum(waits) == 2 * (0.5 + 1)
