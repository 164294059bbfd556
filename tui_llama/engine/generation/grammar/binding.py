"""From a request to the grammar of its answer: compiles it, and takes what of the answer is given already."""

from collections.abc import Iterator, Sequence

from tui_llama.chat import Thinking
from tui_llama.engine.events import GrammarProgress
from tui_llama.engine.generation.answer_text import AnswerText
from tui_llama.engine.generation.grammar.answer_grammar import AnswerGrammar
from tui_llama.engine.generation.grammar.compiled import CompiledGrammars, GrammarSource
from tui_llama.engine.templates.thinking.forms import ThoughtForm
from tui_llama.engine.tokenizer.tokenizer import Tokenizer


def compile_grammar(grammars: CompiledGrammars, source: GrammarSource, turn: int) -> Iterator[GrammarProgress]:
    """Compiles what binds an answer; yields the progress before each step, nothing if that is known already.

    Raises:
        EngineError: the grammar or schema is wrong; the message names the place.
    """
    total = grammars.steps_left(source)
    for done in range(total):
        yield GrammarProgress(turn, done, total)
        grammars.step(source)
    if total:
        yield GrammarProgress(turn, total, total)


def bind_answer(
    grammars: CompiledGrammars,
    source: GrammarSource,
    tokenizer: Tokenizer,
    form: ThoughtForm | None,
    thinking: Thinking,
    prompt_ids: Sequence[int],
    given_ids: Sequence[int],
    free_marks: Sequence[str] = (),
) -> AnswerGrammar:
    """Returns the grammar of an answer behind what is given of it.

    Args:
        grammars: Have compiled `source`.
        source: What binds the answer.
        tokenizer: The model's.
        form: How the model writes thoughts; None: it writes none, or its thought counts as text.
        thinking: Whether it may think first.
        prompt_ids: The tokens before the answer.
        given_ids: The tokens of the answer so far.
        free_marks: The texts with one of which an answer may begin that is free.

    Raises:
        EngineError: the grammar does not allow what is given.
    """
    may_think = thinking is not Thinking.OFF or bool(given_ids)
    bound = AnswerGrammar(
        grammars.matcher(source), grammars.token_count, tokenizer, form, may_think=may_think, free_marks=free_marks
    )
    text = AnswerText(tokenizer, (), form, prompt_ids)
    bound.begin(is_thinking=text.is_thinking, is_before_text=text.is_before_text)
    for token_id in given_ids:
        if token_id not in tokenizer.end_of_generation:
            text.push(token_id)
            bound.accept(token_id, is_before_text=text.is_before_text)
    return bound
