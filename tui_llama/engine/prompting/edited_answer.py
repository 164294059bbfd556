"""The tokens of an answer that goes on after the user has changed its text.

Those that were generated before the change are kept, so that their keys and values stay good. The rest is tokenised.
"""

from collections.abc import Sequence

from tui_llama.engine.tokenizer.tokenizer import Tokenizer


def answer_tokens(tokenizer: Tokenizer, generated: Sequence[int], answer: str) -> list[int]:
    """Returns the tokens of an answer: as many of the generated ones as write its beginning, then those of the rest.

    The last of those tokens is not kept where something follows: it may be the beginning of a longer word.

    Args:
        tokenizer: The model's.
        generated: The tokens that followed the prompt of the answer before it was changed; may be empty.
        answer: The text as it is now.
    """
    # The names of control tokens are text: those that a model generates are not shown. No space is added in front: if
    # the model had generated one, it would be in the text.
    data, ends = answer.encode(errors="surrogatepass"), [0]
    for token_id in generated:
        piece = b"" if tokenizer.is_special(token_id) else tokenizer.piece(token_id)
        if not piece or not data.startswith(piece, ends[-1]):
            break
        ends.append(ends[-1] + len(piece))
    if ends[-1] < len(data) and len(ends) > 1:
        ends.pop()
    while not _is_between_characters(data, ends[-1]):
        ends.pop()
    kept = list(generated[: len(ends) - 1])
    rest = data[ends[-1] :].decode(errors="surrogatepass")
    return [*kept, *tokenizer.tokenize(rest, continues=True)]


def _is_between_characters(data: bytes, place: int) -> bool:
    return place >= len(data) or data[place] & 0xC0 != 0x80
