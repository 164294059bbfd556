"""Which ids a model may go on from."""

import pytest

from tui_llama.chats.ledger import FedTokens, Ledger


@pytest.mark.parametrize(
    ("ledger", "vocabulary", "fed"),
    [
        (Ledger(), "a", FedTokens((), "a")),
        (Ledger({"a": (1, 2)}, "a"), "a", FedTokens((1, 2), "a")),
        (Ledger({"a": (1, 2)}, "a"), "b", FedTokens((), "b", lacks_newest=True)),
        (Ledger({"a": (1, 2), "b": (3,)}, "b"), "a", FedTokens((1, 2), "a", lacks_newest=True)),
        (Ledger({"": (1, 2)}, ""), "a", FedTokens((1, 2), "")),
        (Ledger({"": (1, 2), "b": (3,)}, "b"), "a", FedTokens((1, 2), "", lacks_newest=True)),
        (Ledger({"": (1, 2), "a": (3,)}, "a"), "a", FedTokens((3,), "a")),
        (Ledger({"a": (1, 2)}, "a"), "", FedTokens((), "", lacks_newest=True)),
    ],
)
def test_ids_are_handed_out_for_one_vocabulary(ledger: Ledger, vocabulary: str, fed: FedTokens) -> None:
    assert ledger.fed_in(vocabulary) == fed


@pytest.mark.parametrize(
    ("ledger", "vocabulary", "writes_end"),
    [
        (Ledger(), "a", True),
        (Ledger({"a": (1, 2)}, "a"), "a", True),
        (Ledger({"a": (1, 2)}, "a", lacks_end=True), "a", False),
        (Ledger({}, lacks_end=True), "a", False),
        (Ledger({"a": (1, 2)}, "a"), "b", False),
        (Ledger({"": (1, 2)}, ""), "a", False),
        (Ledger({"a": (1, 2), "b": (3,)}, "b"), "a", False),
    ],
)
def test_ids_write_a_path_to_its_end_only_in_the_newest_vocabulary_and_behind_no_server(
    ledger: Ledger, vocabulary: str, writes_end: bool
) -> None:
    assert ledger.writes_end_in(vocabulary) is writes_end


def test_a_ledger_without_ids_is_empty() -> None:
    assert [bool(ledger) for ledger in (Ledger(), Ledger({"a": ()}, "a"), Ledger({"a": (1,)}, "a"))] == [
        False,
        False,
        True,
    ]
