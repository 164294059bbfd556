"""The token ids that were fed to models on one path of a chat, separately for each vocabulary.

An id has a meaning in one vocabulary only. So a ledger returns the ids of the vocabulary that the caller asks for. The
caller tokenises again the text of what was said under another vocabulary, and the text that a server wrote, which has
no ids.
"""

from collections.abc import Mapping

import msgspec

UNKNOWN_VOCABULARY = ""
"""The fingerprint of an unknown vocabulary: that of the ids of answers that an older version stored."""


class FedTokens(msgspec.Struct, frozen=True):
    """Ids of one vocabulary, in the order in which they were fed.

    Attributes:
        token_ids: The ids.
        vocabulary: The fingerprint of theirs. Those of `UNKNOWN_VOCABULARY` are used as far as they write the text.
        lacks_newest: Whether those of the newest answer are not among them, since they are of another vocabulary.
    """

    token_ids: tuple[int, ...] = ()
    vocabulary: str = UNKNOWN_VOCABULARY
    lacks_newest: bool = False


class Ledger(msgspec.Struct, frozen=True):
    """All ids of a path.

    Attributes:
        by_vocabulary: The ids of each vocabulary, by its fingerprint.
        newest_vocabulary: That of the newest answer whose tokens are known.
        lacks_end: Whether the path ends in an answer whose text has no ids, ids of its beginning only, or ids that go
            on from a message that was deleted since then.
    """

    by_vocabulary: Mapping[str, tuple[int, ...]] = {}
    newest_vocabulary: str = UNKNOWN_VOCABULARY
    lacks_end: bool = False

    def __bool__(self) -> bool:
        """Tells whether there are any ids."""
        return any(self.by_vocabulary.values())

    def writes_end_in(self, vocabulary: str) -> bool:
        """Tells whether the ids of this vocabulary write the path to its end, so that a model can go on from them."""
        fed = self.fed_in(vocabulary)
        return fed.vocabulary == vocabulary and not fed.lacks_newest and not self.lacks_end

    @property
    def newest_ids(self) -> list[int]:
        """The ids of the newest answer's vocabulary."""
        return list(self.by_vocabulary.get(self.newest_vocabulary, ()))

    def fed_in(self, vocabulary: str) -> FedTokens:
        """Returns the ids that a model of this vocabulary may go on from.

        Where there are none, those of an unknown vocabulary, which may be this one.
        """
        if vocabulary not in self.by_vocabulary and UNKNOWN_VOCABULARY in self.by_vocabulary:
            vocabulary = UNKNOWN_VOCABULARY
        lacks_newest = bool(self.by_vocabulary) and vocabulary != self.newest_vocabulary
        return FedTokens(self.by_vocabulary.get(vocabulary, ()), vocabulary, lacks_newest)
