"""A model's vocabulary as llguidance takes it: the bytes of each token, and which of them are no text."""

from tui_llama.engine.tokenizer.tokenizer import Tokenizer


class GrammarVocabulary:
    """The tokens of a model, for grammars.

    A control token is never text, whatever its name. Neither is a user-defined one that looks like a mark, such as
    `<think>`: the same letters can be written with other tokens.

    Args:
        tokenizer: The model's.

    Attributes:
        size: The number of tokens, with one more for the end if the vocabulary has none.
        tokenizer: As llguidance has it.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        from llguidance import LLTokenizer  # only answers that are bound need it

        ends = sorted(tokenizer.end_of_generation)
        words = _Words(tokenizer, has_end=bool(ends))
        self.size = len(words.tokens)
        self.tokenizer = LLTokenizer(
            words,  # type: ignore[arg-type]  # it takes whatever has these attributes
            n_vocab=self.size,
            eos_token=ends or [self.size - 1],
        )


class _Words:
    """What llguidance asks of a tokenizer; the names are its own."""

    is_tokenizer_wrapper = True

    def __init__(self, tokenizer: Tokenizer, *, has_end: bool) -> None:
        self._tokenizer = tokenizer
        self.tokens: list[bytes] = []
        self.special_token_ids: list[int] = []
        for token_id, piece in enumerate(tokenizer.pieces()):
            is_mark = tokenizer.is_special(token_id) and piece[:1] == b"<" and piece[-1:] == b">"
            self.tokens.append(piece if piece and not is_mark else self._special())
        if not has_end:
            self.tokens.append(self._special())
        self.eos_token_id = next(iter(sorted(tokenizer.end_of_generation)), len(self.tokens) - 1)
        self.bos_token_id = tokenizer.bos_id
        self._not_text = frozenset(self.special_token_ids)

    def _special(self) -> bytes:
        """Notes that the next token is no text; returns a name for it, which no grammar of ours uses."""
        self.special_token_ids.append(len(self.tokens))
        return f"<[{len(self.tokens)}]>".encode()

    def __call__(self, text: str | bytes) -> list[int]:
        """Returns the tokens of a text that follows another one. Marks in it are letters, as in every answer."""
        letters = text.decode() if isinstance(text, bytes) else text
        ids = self._plain(letters)
        return self._in_parts(letters) if any(map(self._tokenizer.is_special, ids)) else ids

    def _in_parts(self, letters: str) -> list[int]:
        """Returns the tokens of a text with user-defined tokens, each part by itself: some models add spaces behind."""
        ids: list[int] = []
        end = 0
        for begin, next_begin in self._tokenizer.special_spans(letters, [(0, len(letters))]):
            ids += [*self._plain(letters[end:begin]), *self._without_marks(letters[begin:next_begin])]
            end = next_begin
        return [*ids, *self._plain(letters[end:])]

    def _without_marks(self, name: str) -> list[int]:
        """Returns the tokens of the text of a user-defined token: the token, unless it is no text."""
        ids = self._plain(name)
        return self(name[:1]) + self(name[1:]) if self._not_text.issuperset(ids) else ids

    def _plain(self, text: str) -> list[int]:
        return self._tokenizer.tokenize(text, continues=True)
