import socket
from dataclasses import dataclass, field

import pytest

from tui_llama.models.downloads import DownloadError
from tui_llama.models.hub.explanations import Explainer, shown_host
from tui_llama.models.hub.patience import HubUnreachableError, PassingFailure
from tui_llama.models.hub.reference import HubReference

HUB = "https://hub.example"
REFERENCE = HubReference("owner/tiny-GGUF", revision="v2")


@dataclass
class GivenAnswer:
    """What a server says."""

    status_code: int
    headers: dict[str, str] = field(default_factory=dict)
    url: str = f"{HUB}/owner/tiny-GGUF"


class ConnectError(Exception):
    """Called as the library for connections calls it: only names tell what it means."""


class ReadTimeout(Exception):  # noqa: N818  # as the library calls it
    """Called as the library for connections calls it."""


def error_of(answer: GivenAnswer, *, has_token: bool = False) -> DownloadError:
    error = Explainer(HUB).refusal(answer, REFERENCE, has_token=has_token)
    assert isinstance(error, DownloadError)
    return error


@pytest.mark.parametrize(
    ("status", "code", "has_token", "told", "hint"),
    [
        (403, "GatedRepo", False, "accepted its terms", f"{HUB}/owner/tiny-GGUF and set HF_TOKEN"),
        (403, "GatedRepo", True, "accepted its terms", "with the account of your token"),
        (404, "RevisionNotFound", False, "no revision v2", "Leave the revision out"),
        (404, "EntryNotFound", False, "no longer has the file", "Try again"),
        (401, "RepoNotFound", True, "no repository owner/tiny-GGUF on hub.example", "Check the name."),
        (401, "", True, "does not accept the token", "valid token"),
        (401, "", False, "or it is private", "set HF_TOKEN"),
        (403, "", True, "refuses access", "may not have the right"),
        (407, "", False, "the proxy requires a name", "HTTPS_PROXY"),
        (418, "", False, "refuses owner/tiny-GGUF (status 418)", "Check the network"),
    ],
)
def test_a_refusal_is_told_by_its_code_and_else_by_its_status(
    status: int, code: str, has_token: bool, told: str, hint: str
) -> None:
    error = error_of(GivenAnswer(status, {"X-Error-Code": code}), has_token=has_token)

    assert told in str(error)
    assert hint in error.hint


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "soon"}, None),
        ({"RateLimit": '"api";r=0;t=55'}, 55.0),
        ({"RateLimit": '"api";r=3;t=55'}, None),
        ({}, None),
    ],
)
def test_a_busy_hub_may_say_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    failure = Explainer(HUB).refusal(GivenAnswer(429, headers), REFERENCE, has_token=False)

    assert isinstance(failure, PassingFailure)
    assert failure.wait_seconds == seconds


def test_a_refusal_of_the_server_of_contents_passes() -> None:
    answer = GivenAnswer(403, url="https://contents.example/blob?signature=secret")
    failure = Explainer(HUB).refusal(answer, REFERENCE, has_token=False)

    assert isinstance(failure, PassingFailure)
    assert "contents.example" in str(failure) and "secret" not in str(failure)


@pytest.mark.parametrize("has_answered", [False, True])
def test_a_hub_that_cannot_be_reached_is_waited_for_only_if_it_has_answered_before(has_answered: bool) -> None:
    error = ConnectError()
    error.__cause__ = socket.gaierror()
    explained = Explainer(HUB).failed_connection(error, has_answered=has_answered)

    assert isinstance(explained, PassingFailure if has_answered else HubUnreachableError)
    assert "the address of hub.example was not found" in str(explained)


def test_a_hub_that_takes_too_long_is_waited_for() -> None:
    failure = Explainer(HUB).failed_connection(ReadTimeout(), has_answered=False)

    assert isinstance(failure, PassingFailure)
    assert "hub.example does not answer" in str(failure)


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://name:password@Hub.example:8443/path", "hub.example:8443"),
        ("https://hub.example", "hub.example"),
        ("https://[::1", ""),
        ("no address", ""),
    ],
)
def test_a_host_is_shown_without_what_is_secret(address: str, host: str) -> None:
    assert shown_host(address) == host
