"""Speculation: an answer that repeats what stands in its context is read several tokens at a time.

What followed the last time when the text ended like this is guessed to follow again. The guessed tokens are fed in one
batch with the token that was sampled, which on a CPU costs little more than that token alone: the weights are read
once. Then every token is sampled from its own logits as ever. As long as it is the guessed one, the logits after it
are there already; at the first other one the rest of the batch is forgotten. A batch gives the same bits as its tokens
one by one, so that an answer is the same with and without speculation, greedy or with any seed.

How far to guess is decided by how often guesses came true lately and by how long batches take. The first is known
without trying, since a guess can be compared with what was said whether or not it was fed.

Source: Saxena 2023 (prompt lookup decoding); Leviathan et al. 2023 (speculative decoding) for when a draft pays.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

from tui_llama.engine.model.interface import Logits, LogitsRows, TokenSequence

LONGEST_NGRAM = 3
"""Longer matches are found all the same: a place that agreed is followed for as long as it agrees."""

_LONGEST_MATCH = 16  # longer ones are not told apart
_LEAST_GAIN = 1.03
"""A draft must promise this much, since what it promises is an estimate."""


class NgramIndex:
    """Tokens, and where their last few stood before.

    Args:
        token_ids: The tokens so far.

    Attributes:
        source: The position whose token is guessed to come next; None where the last token is new.
        match_length: How many tokens before `source` agree with the last ones, counted up to 16 when it was found.

    A source that guessed right is followed; otherwise, and while fewer tokens agree than the longest n-gram has, the
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
        """Adds a token, at a cost that does not depend on how many there are."""
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
        """The tokens guessed to come next; where the source reaches the end it goes on with what was guessed.

        Returns:
            `count` token ids, or none where there is no source.
        """
        if self.source is None:
            return []
        tokens = self._tokens[self.source : self.source + count]
        while len(tokens) < count:
            tokens.append(tokens[self.source + len(tokens) - len(self._tokens)])
        return tokens

    def _last_ends(self, size: int) -> dict[tuple[int, ...], int]:
        """Every n-gram of that size with the position after its last occurrence."""
        shifted = (self._tokens[start:] for start in range(size))
        return dict(zip(zip(*shifted, strict=False), range(size, len(self._tokens) + 1), strict=False))

    def _agreeing_tokens(self, end: int) -> int:
        tokens, count = self._tokens, 0
        most = min(end, _LONGEST_MATCH)
        while count < most and tokens[end - 1 - count] == tokens[-1 - count]:
            count += 1
        return count


class Acceptance:
    """How often guesses came true lately, told apart by how many tokens agreed before them.

    Each kind starts with some guesses that nobody made, so that the first ones do not decide alone, and old ones fade.
    """

    _LEAST_MATCHES = (1, 2, 3, 4, 8, 16)
    _EXPECTED = (0.1, 0.3, 0.5, 0.6, 0.7, 0.8)  # of texts that repeat; others soon tell
    _FIRST_WEIGHT = 4.0
    _MOST_WEIGHT = 32.0

    def __init__(self) -> None:
        self._weights = [self._FIRST_WEIGHT] * len(self._EXPECTED)
        self._true = [self._FIRST_WEIGHT * chance for chance in self._EXPECTED]
        lengths = range(_LONGEST_MATCH + 1)
        self._kinds = [sum(length >= least for least in self._LEAST_MATCHES) - 1 for length in lengths]

    def note(self, match_length: int, came_true: bool) -> None:
        """A guess after so many agreeing tokens, at least one, was right or wrong."""
        kind = self._kinds[min(match_length, _LONGEST_MATCH)]
        kept = 1.0 if self._weights[kind] < self._MOST_WEIGHT else 1.0 - 1.0 / self._MOST_WEIGHT
        self._weights[kind] = kept * self._weights[kind] + 1.0
        self._true[kind] = kept * self._true[kind] + came_true

    def chance(self, match_length: int) -> float:
        """The estimated probability that the next guess is right."""
        kind = self._kinds[min(match_length, _LONGEST_MATCH)]
        return self._true[kind] / self._weights[kind]


class BatchCosts:
    """How long a batch of tokens takes in times of one token, learned from the batches that are run.

    Noted is what each further token adds, for every size of batch and for all together, which stands in for sizes that
    were not run yet. Both fade towards what is expected, so that one unlucky measurement does not decide for ever.

    Args:
        clock: Seconds on a clock that only goes up.
    """

    _EXPECTED = 0.08
    _LEAST = 0.05  # cheaper it hardly is, and where it seems to be, one token was held up by something else
    _NEW_SHARE = 0.3
    _FADING = 1.0 / 256.0
    _MOST_RISE = 2.0  # what took longer than this many times the usual was held up by something else

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._seconds_of_one = 0.0
        self._added_by_any = self._EXPECTED
        self._added: dict[int, float] = {}

    @property
    def knows_one(self) -> bool:
        """Whether the time of one token is known, with which others are compared."""
        return self._seconds_of_one > 0

    @contextmanager
    def measuring(self, tokens: int) -> Iterator[None]:
        """Notes how long a batch of so many tokens takes."""
        start = self._clock()
        yield
        seconds = self._clock() - start
        if tokens == 1:
            self._note_one(seconds)
        elif self.knows_one:
            self._note_more(tokens, seconds / self._seconds_of_one)

    def relative(self, tokens: int) -> float:
        """The time of a batch of so many tokens, in times of one token."""
        return 1.0 + (tokens - 1) * self._added.get(tokens, self._added_by_any)

    def _note_one(self, seconds: float) -> None:
        usual = self._seconds_of_one or seconds
        self._seconds_of_one = _between(usual, min(seconds, self._MOST_RISE * usual), self._NEW_SHARE)
        self._added_by_any = _between(self._added_by_any, self._EXPECTED, self._FADING)
        for tokens, added in self._added.items():
            self._added[tokens] = _between(added, self._EXPECTED, self._FADING)

    def _note_more(self, tokens: int, ratio: float) -> None:
        """A batch takes no longer than its tokens apart."""
        added = min(max(self._LEAST, (ratio - 1.0) / (tokens - 1)), 1.0)
        self._added[tokens] = _between(self._added.get(tokens, self._added_by_any), added, self._NEW_SHARE)
        self._added_by_any = _between(self._added_by_any, added, self._NEW_SHARE)


class Speculation:
    """Reads tokens into a sequence one by one, as `TokenSequence.extend` does, and guessed ones ahead of them.

    Args:
        sequence: Has read the prompt. Until `settle`, it may hold guessed tokens beyond those that were said.
        token_ids: The prompt, which is where guesses come from.
        draft_max: The most tokens to guess at once; 0 guesses none.
        costs: What batches take; learned further here.

    Attributes:
        drafted_tokens: How many tokens were guessed and fed.
        accepted_tokens: How many of them came true.
    """

    def __init__(self, sequence: TokenSequence, token_ids: Sequence[int], draft_max: int, costs: BatchCosts) -> None:
        self.drafted_tokens = self.accepted_tokens = 0
        self._sequence = sequence
        self._length = len(sequence)
        self._draft_max = draft_max
        self._costs = costs
        self._index = NgramIndex(token_ids) if draft_max else None
        self._acceptance = Acceptance()
        self._draft: list[int] = []
        self._rows: LogitsRows | None = None
        self._said = 0  # how many of the draft's tokens came true so far

    def __len__(self) -> int:
        """How many tokens were said and read, guessed ones that were not said left out."""
        return self._length

    @property
    def reads_ahead(self) -> bool:
        """Whether there are guessed tokens left that may still come true."""
        return self._said < len(self._draft)

    def extend(self, token_id: int, most_guesses: int) -> Logits:
        """Reads a token that was said.

        Args:
            token_id: The token.
            most_guesses: How many tokens after it could be read at all: to the end of the context or of the answer.

        Returns:
            (vocab,) float32, the logits after it, valid until the next call.
        """
        self._compare(token_id)
        if self._rows is not None and self.reads_ahead and self._draft[self._said] == token_id:
            self._said += 1
            self.accepted_tokens += 1
        else:
            self.settle()
            self._rows = self._read(token_id, most_guesses)
        self._length += 1
        logits: Logits = self._rows[self._said]
        return logits

    def settle(self) -> None:
        """Forgets the guessed tokens that were not said."""
        if self.reads_ahead:
            self._sequence.rewind(self._length)
        self._draft, self._said, self._rows = [], 0, None

    def make_room(self, make: Callable[[], None]) -> None:
        """Lets `make` take tokens out of the sequence, or to other positions, where no guessed ones are any more.

        Guesses are made from the text, in which those tokens still stand.
        """
        self.settle()
        make()
        self._length = len(self._sequence)

    def _read(self, token_id: int, most_guesses: int) -> LogitsRows:
        self._draft = self._guess(most_guesses)
        self.drafted_tokens += len(self._draft)
        with self._costs.measuring(1 + len(self._draft)):
            return self._sequence.verify([token_id, *self._draft])

    def _compare(self, token_id: int) -> None:
        """Learns whether the token was the one to be guessed."""
        if self._index is not None:
            guess = self._index.continuation(1)
            if guess:
                self._acceptance.note(self._index.match_length, guess[0] == token_id)
            self._index.append(token_id)

    def _guess(self, most_guesses: int) -> list[int]:
        """As many tokens as make the most tokens come out of a second, by the estimates.

        When a guess is right, one more token agrees for the next. A batch yields one token beside its guesses.
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
    """So far on the way from `old` to `new`."""
    return old + share * (new - old)
