"""Speculation: an answer that repeats its context is computed several tokens at a time.

The draft is what followed the last time the text ended like this. The draft goes into one batch with the sampled token.
On a CPU such a batch costs little more than the token alone, because the weights are read only once. Then every token
is sampled from its own logits as usual. As long as it equals the drafted one, the logits after it are there already. At
the first token that differs, the rest of the draft is dropped. A batch gives the same bits as its tokens one by one, so
the answer is the same with and without speculation, greedy or with any seed.

The length of a draft depends on how often drafted tokens were right lately and on how long batches take. The first is
known without trying, because a guess can be compared with the sampled token whether or not it was in a batch.

Source: Saxena 2023 (prompt lookup decoding); Leviathan et al. 2023 (speculative decoding) for when a draft pays.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TypeAlias

from tui_llama.engine.token_sequence import Logits, LogitsRows, TokenSequence

Fitting: TypeAlias = Callable[[list[int], int], list[int]]

LONGEST_NGRAM = 3
"""Longest n-gram in the index. Longer matches are found as well: a matching place is followed as long as it matches."""

_LONGEST_MATCH = 16  # longer ones are not distinguished
_LEAST_GAIN = 1.03
"""A draft must promise at least this speedup, because its promise is an estimate."""


class NgramIndex:
    """Tokens, with an index of where their last few tokens occurred before.

    Args:
        token_ids: The tokens so far.

    Attributes:
        source: The position of the token that is guessed to come next; None if the last token is new.
        match_length: How many tokens before `source` match the last ones, counted up to 16 when it was found.

    A source that guessed right is followed. Otherwise, and while fewer tokens match than the longest n-gram has, the
    most recent occurrence of the longest n-gram is taken.
    """

    def __init__(self, token_ids: Sequence[int]) -> None:
        self.source: int | None = None
        self.match_length = 0
        self._tokens = list(token_ids[:-1])
        self._ends = {size: self._last_ends(size) for size in range(LONGEST_NGRAM, 0, -1)}
        for token_id in token_ids[-1:]:
            self.append(token_id)

    def __len__(self) -> int:
        return len(self._tokens)

    def append(self, token_id: int) -> None:
        """Adds a token; the cost does not depend on the number of tokens."""
        tokens = self._tokens
        if self.source is not None and tokens[self.source] == token_id:
            self.source, self.match_length = self.source + 1, self.match_length + 1
        else:
            self.source, self.match_length = None, 0
        tokens.append(token_id)
        for size, ends in self._ends.items():
            if size <= len(tokens):
                ngram = tuple(tokens[-size:])
                end = ends.get(ngram)
                ends[ngram] = len(tokens)
                if end is not None and size > self.match_length:
                    self.source, self.match_length = end, self._agreeing_tokens(end)

    def continuation(self, count: int) -> list[int]:
        """Returns the tokens guessed to come next; if the source reaches the end, it continues with the guessed tokens.

        Returns:
            `count` token ids, or none if there is no source.
        """
        if self.source is None:
            return []
        tokens = self._tokens[self.source : self.source + count]
        while len(tokens) < count:
            tokens.append(tokens[self.source + len(tokens) - len(self._tokens)])
        return tokens

    def _last_ends(self, size: int) -> dict[tuple[int, ...], int]:
        """Returns every n-gram of that size with the position after its last occurrence."""
        shifted = (self._tokens[start:] for start in range(size))
        return dict(zip(zip(*shifted, strict=False), range(size, len(self._tokens) + 1), strict=False))

    def _agreeing_tokens(self, end: int) -> int:
        tokens, count = self._tokens, 0
        most = min(end, _LONGEST_MATCH)
        while count < most and tokens[end - 1 - count] == tokens[-1 - count]:
            count += 1
        return count


class Acceptance:
    """Share of guessed tokens that were right lately, in groups by how many tokens matched before them.

    Each group starts with invented guesses, so that the first real ones do not decide alone. Old guesses fade.
    """

    _LEAST_MATCHES = (1, 2, 3, 4, 8, 16)
    _EXPECTED = (0.1, 0.3, 0.5, 0.6, 0.7, 0.8)  # for texts that repeat themselves; other texts correct this soon
    _FIRST_WEIGHT = 4.0
    _MOST_WEIGHT = 32.0

    def __init__(self) -> None:
        self._weights = [self._FIRST_WEIGHT] * len(self._EXPECTED)
        self._true = [self._FIRST_WEIGHT * chance for chance in self._EXPECTED]
        lengths = range(_LONGEST_MATCH + 1)
        self._kinds = [sum(length >= least for least in self._LEAST_MATCHES) - 1 for length in lengths]

    def note(self, match_length: int, came_true: bool) -> None:
        """Notes whether a guess after `match_length` matching tokens, at least one, was right."""
        kind = self._kinds[min(match_length, _LONGEST_MATCH)]
        kept = 1.0 if self._weights[kind] < self._MOST_WEIGHT else 1.0 - 1.0 / self._MOST_WEIGHT
        self._weights[kind] = kept * self._weights[kind] + 1.0
        self._true[kind] = kept * self._true[kind] + came_true

    def chance(self, match_length: int) -> float:
        """Returns the estimated probability that the next guess is right."""
        kind = self._kinds[min(match_length, _LONGEST_MATCH)]
        return self._true[kind] / self._weights[kind]


class BatchCosts:
    """Duration of a batch in units of the duration of one token, learned from the batches that are run.

    What each further token adds is learned for every size of batch, and for all sizes together; the latter stands in
    for sizes that were not run yet. Both fade towards the expected value, so that one bad measurement does not decide
    for ever.

    Args:
        clock: Seconds on a clock that never goes back.
    """

    _EXPECTED = 0.08
    _LEAST = 0.05  # it is hardly ever lower; if it seems so, the measurement of one token was disturbed
    _NEW_SHARE = 0.3
    _FADING = 1.0 / 256.0
    _MOST_RISE = 2.0  # a token that took longer than this many times the usual was held up by something else

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._seconds_of_one = 0.0
        self._added_by_any = self._EXPECTED
        self._added: dict[int, float] = {}

    @property
    def knows_one(self) -> bool:
        """True if the duration of one token is known, with which others are compared."""
        return self._seconds_of_one > 0

    @contextmanager
    def measuring(self, tokens: int) -> Iterator[None]:
        """Measures how long a batch of `tokens` tokens takes."""
        start = self._clock()
        yield
        seconds = self._clock() - start
        if tokens == 1:
            self._note_one(seconds)
        elif self.knows_one:
            self._note_more(tokens, seconds / self._seconds_of_one)

    def relative(self, tokens: int) -> float:
        """Returns the duration of a batch of `tokens` tokens, in units of one token."""
        return 1.0 + (tokens - 1) * self._added.get(tokens, self._added_by_any)

    def _note_one(self, seconds: float) -> None:
        usual = self._seconds_of_one or seconds
        self._seconds_of_one = _between(usual, min(seconds, self._MOST_RISE * usual), self._NEW_SHARE)
        self._added_by_any = _between(self._added_by_any, self._EXPECTED, self._FADING)
        for tokens, added in self._added.items():
            self._added[tokens] = _between(added, self._EXPECTED, self._FADING)

    def _note_more(self, tokens: int, ratio: float) -> None:
        """Learns from a larger batch; it counts as taking no longer than its tokens one by one."""
        added = min(max(self._LEAST, (ratio - 1.0) / (tokens - 1)), 1.0)
        self._added[tokens] = _between(self._added.get(tokens, self._added_by_any), added, self._NEW_SHARE)
        self._added_by_any = _between(self._added_by_any, added, self._NEW_SHARE)


class Speculation:
    """Reads tokens into a sequence one by one, as `TokenSequence.extend` does, and drafted tokens in the same batch.

    Args:
        sequence: Has read the prompt. Until `settle`, it may hold drafted tokens that were not sampled.
        token_ids: The prompt, from which drafts are taken.
        draft_max: The longest draft in tokens; 0 for none.
        costs: Costs of batches, learned further here.
        fitting: Returns a draft up to the first token that cannot be sampled, or a better one of at most as many tokens
            as it is told; None: all can be.

    Attributes:
        drafted_tokens: Drafted tokens that were computed.
        accepted_tokens: Drafted tokens that were right.
    """

    def __init__(
        self,
        sequence: TokenSequence,
        token_ids: Sequence[int],
        draft_max: int,
        costs: BatchCosts,
        fitting: Fitting | None = None,
    ) -> None:
        self.drafted_tokens = self.accepted_tokens = 0
        self._sequence = sequence
        self._length = len(sequence)
        self._draft_max = draft_max
        self._costs = costs
        self._fitting = fitting
        self._index = NgramIndex(token_ids) if draft_max else None
        self._acceptance = Acceptance()
        self._draft: list[int] = []
        self._rows: LogitsRows | None = None
        self._said = 0  # tokens of the draft that were right so far

    def __len__(self) -> int:
        """Counts the tokens that were sampled and read, without drafted tokens that were not sampled."""
        return self._length

    @property
    def has_guesses_left(self) -> bool:
        """True if drafted tokens are left that may still be right."""
        return self._said < len(self._draft)

    def extend(self, token_id: int, most_guesses: int) -> Logits:
        """Reads a sampled token.

        Args:
            token_id: The token.
            most_guesses: Most tokens that could be read after it: to the end of the context or of the answer.

        Returns:
            (vocab,) float32, the logits after it, valid until the next call.
        """
        self._compare(token_id)
        if self._rows is not None and self.has_guesses_left and self._draft[self._said] == token_id:
            self._said += 1
            self.accepted_tokens += 1
        else:
            self.settle()
            self._rows = self._read(token_id, most_guesses)
        self._length += 1
        logits: Logits = self._rows[self._said]
        return logits

    def settle(self) -> None:
        """Drops the drafted tokens that were not sampled."""
        if self.has_guesses_left:
            self._sequence.rewind(self._length)
        self._draft, self._said, self._rows = [], 0, None

    def make_room(self, make: Callable[[], None]) -> None:
        """Drops the draft, then lets `make` remove tokens from the sequence or move them.

        Later drafts are still taken from the whole text, with those tokens.
        """
        self.settle()
        make()
        self._length = len(self._sequence)

    def _read(self, token_id: int, most_guesses: int) -> LogitsRows:
        self._draft = self._guess(most_guesses)
        if self._fitting is not None:
            self._draft = self._fitting(self._draft, min(self._draft_max, most_guesses))
        self.drafted_tokens += len(self._draft)
        with self._costs.measuring(1 + len(self._draft)):
            return self._sequence.verify([token_id, *self._draft])

    def _compare(self, token_id: int) -> None:
        """Learns whether the token was the guessed one."""
        if self._index is not None:
            guess = self._index.continuation(1)
            if guess:
                self._acceptance.note(self._index.match_length, guess[0] == token_id)
            self._index.append(token_id)

    def _guess(self, most_guesses: int) -> list[int]:
        """Makes the draft with the highest estimated number of tokens per second.

        If a guess is right, one more token matches for the next. A batch yields one token beside its right guesses.
        """
        if self._index is None or self._index.source is None or not self._costs.knows_one:
            return []
        match_length = self._index.match_length
        chance, expected_tokens = 1.0, 1.0
        best_count, best_gain = 0, _LEAST_GAIN
        for count in range(1, min(self._draft_max, most_guesses) + 1):
            chance *= self._acceptance.chance(match_length + count - 1)
            expected_tokens += chance
            gain = expected_tokens / self._costs.relative(1 + count)
            if gain > best_gain:
                best_count, best_gain = count, gain
        return self._index.continuation(best_count)


def _between(old: float, new: float, share: float) -> float:
    """Returns the number that lies the share `share` of the way from `old` to `new`."""
    return old + share * (new - old)
