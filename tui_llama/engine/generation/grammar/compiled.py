"""The compiled grammars of a loaded model. The last few are kept, because the answers of a chat are bound alike."""

from collections import OrderedDict
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from tui_llama.engine.generation.grammar.gbnf import Grammar, read_gbnf
from tui_llama.engine.generation.grammar.lark import lark_of
from tui_llama.engine.generation.grammar.schema import Schema, read_schema, schema_error, schema_grammar
from tui_llama.engine.generation.grammar.vocabulary import GrammarVocabulary
from tui_llama.engine.requests import CompleteRequest, ReplyRequest
from tui_llama.engine.tokenizer.tokenizer import Tokenizer, valid_unicode
from tui_llama.errors import EngineError

if TYPE_CHECKING:
    from llguidance import LLMatcher

_MOST_KEPT: Final = 8
_MOST_ITEMS: Final = 20_000
"""Ways in which an answer may go on; llguidance follows 2,000 by default, fewer than a list of names may have."""
_MOST_ITEMS_A_STEP: Final = 25 * _MOST_ITEMS  # as many to one as by default
_NOTHING_FITS: Final = "NoExtension"
_NO_MATCH: Final = "satisfy the grammar"


class GrammarKind(StrEnum):
    """How a grammar is written."""

    GBNF = "grammar"
    JSON_SCHEMA = "JSON schema"


class GrammarSource(NamedTuple):
    """What somebody has written to bind an answer."""

    kind: GrammarKind
    text: str


def grammar_source(request: ReplyRequest | CompleteRequest) -> GrammarSource | None:
    """Returns what binds the answer to a request; None if it is free.

    Raises:
        EngineError: there is a grammar and a schema.
    """
    if request.grammar and request.json_schema:
        raise EngineError("an answer cannot be bound to a grammar and to a JSON schema", "Ask with one of them.")
    if request.json_schema:
        return GrammarSource(GrammarKind.JSON_SCHEMA, request.json_schema)
    return GrammarSource(GrammarKind.GBNF, request.grammar) if request.grammar else None


class CompiledGrammars:
    """The grammars of one model.

    Args:
        tokenizer: The model's.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._vocabulary: GrammarVocabulary | None = None
        self._kept: OrderedDict[GrammarSource, LLMatcher] = OrderedDict()

    def steps_left(self, source: GrammarSource) -> int:
        """Returns how many steps `step` has to be called for before `matcher`; 0 if the grammar is known."""
        return 0 if source in self._kept else 1 + (self._vocabulary is None)

    def step(self, source: GrammarSource) -> None:
        """Takes the next step: prepares the vocabulary, or compiles the grammar. Each may take a second.

        Raises:
            EngineError: the grammar or schema is wrong; the message names the place.
        """
        if self._vocabulary is None:
            self._read(source)  # what cannot be read is not worth the wait
            self._vocabulary = GrammarVocabulary(self._tokenizer)
            return
        self._kept[source] = self._compiled(source, self._vocabulary)
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)

    def matcher(self, source: GrammarSource) -> "LLMatcher":
        """Returns the grammar of a new answer, at its start."""
        self._kept.move_to_end(source)
        return self._kept[source].deep_copy()

    @property
    def token_count(self) -> int:
        """The number of tokens that a mask covers."""
        return 0 if self._vocabulary is None else self._vocabulary.size

    def _compiled(self, source: GrammarSource, vocabulary: GrammarVocabulary) -> "LLMatcher":
        read = self._read(source)
        if isinstance(read, Grammar):
            return _matcher_of_rules(lark_of(read, self._tokenizer.end_of_generation), vocabulary)
        matcher = _matcher(schema_grammar(read), vocabulary)
        if matcher.is_error():
            raise schema_error(read, matcher.get_error(), partial(_fault, vocabulary=vocabulary))
        return matcher

    def _read(self, source: GrammarSource) -> Grammar | Schema:
        text = valid_unicode(source.text)
        return read_gbnf(text, self._tokenizer.token_id) if source.kind is GrammarKind.GBNF else read_schema(text)


def grammar_failure(matcher: "LLMatcher") -> EngineError:
    """Returns the error for a grammar that costs too much or that nothing fits, at its start or within an answer."""
    reason = matcher.get_error().split("\n", 1)[0]
    if reason.startswith(_NOTHING_FITS):
        return EngineError("no text fits the grammar or schema", "Use another one.")
    return EngineError(f"the grammar is too intricate to be followed: {reason}", "Use a simpler one.")


def is_mismatch(matcher: "LLMatcher") -> bool:
    """Tells of a grammar that has not taken a token whether the token does not fit it."""
    return _NO_MATCH in matcher.get_error()


def _matcher_of_rules(lark: str, vocabulary: GrammarVocabulary) -> "LLMatcher":
    from llguidance import LLMatcher

    matcher = _matcher(LLMatcher.grammar_from_lark(lark), vocabulary)
    if matcher.is_error():
        raise grammar_failure(matcher)
    return matcher


def _fault(grammar: str, vocabulary: GrammarVocabulary) -> str:
    return _matcher(grammar, vocabulary).get_error()


def _matcher(grammar: str, vocabulary: GrammarVocabulary) -> "LLMatcher":
    from llguidance import LLMatcher, LLParserLimits  # only answers that are bound need it

    limits = LLParserLimits(max_items_in_row=_MOST_ITEMS, step_max_items=_MOST_ITEMS_A_STEP, verbose_errors=False)
    return LLMatcher(vocabulary.tokenizer, grammar, log_level=0, limits=limits)
