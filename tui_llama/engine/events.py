"""The events that answer the requests to an engine. Each is a tagged msgspec structure, as requests are."""

from enum import StrEnum

import msgspec

from tui_llama.chat import Count, Seconds, StopReason, TokenId, Usage
from tui_llama.engine.descriptions import ModelInfo


class LoadStage(StrEnum):
    """The stages of loading, in this order."""

    READ = "read"
    COMPILE = "compile"
    REPACK = "repack"
    WARM_UP = "warm up"


class LoadProgress(msgspec.Struct, frozen=True, tag=True):
    """The progress of loading: `done` of `total` in units of the stage (bytes, kernels, steps)."""

    stage: LoadStage
    done: Count
    total: Count


class ModelLoaded(msgspec.Struct, frozen=True, tag=True):
    """The model is ready. `notices` are for the user, one line each (guessed template, ignored keys)."""

    model: ModelInfo
    notices: tuple[str, ...] = ()


class PromptEncoded(msgspec.Struct, frozen=True, tag=True):
    """The prompt as tokens: the first `kept_tokens` of the request's ledger, then `token_ids`.

    The oldest `left_out_messages` after the system prompt did not fit into the context. These ids, and those of the
    answer, belong to the vocabulary with the fingerprint `vocabulary`. If an answer goes on and was tokenised again,
    or its start was given, its own tokens are the last `answer_tokens`; if not, that is None.
    """

    turn: int
    kept_tokens: Count
    token_ids: tuple[TokenId, ...]
    left_out_messages: Count = 0
    vocabulary: str = ""
    answer_tokens: Count | None = None


class GrammarProgress(msgspec.Struct, frozen=True, tag=True):
    """The progress of compiling the grammar that binds the answer: `done` of `total` steps; each may take a second.

    It comes before the prompt is encoded, and not at all for a grammar that is compiled already.
    """

    turn: int
    done: Count
    total: Count


class RereadCause(StrEnum):
    """Why the engine has to read much of a conversation again that it has read before."""

    TEMPLATE_CHANGES_ANSWERS = "template changes answers"
    MESSAGE_CHANGED = "message changed"
    ANOTHER_MODEL = "another model"
    NOT_STORED = "not stored"
    MESSAGES_LEFT_OUT = "messages left out"
    DATE_RENEWED = "date renewed"


class PromptProgress(msgspec.Struct, frozen=True, tag=True):
    """The progress of prefill: `done_tokens` of `total_tokens` are read; both count the `reused_tokens` from a cache.

    `reread_cause` is the cause, if clearly more has to be read than the new message.
    """

    turn: int
    reused_tokens: Count
    done_tokens: Count
    total_tokens: Count
    reread_cause: RereadCause | None = None


class TokenProbability(msgspec.Struct, frozen=True):
    """The natural logarithm of a token's probability before sampling. `token` is the token's text in UTF-8.

    `token` may end inside a character. `token_id` is None where a server does not tell it. `alternatives` are the
    likeliest tokens at this place, the likeliest first.
    """

    token: bytes
    log_probability: float
    token_id: TokenId | None = None
    alternatives: tuple["TokenProbability", ...] = ()


class TextPiece(msgspec.Struct, frozen=True, tag=True):
    """A piece of the answer and the tokens sampled since the last piece.

    `text` never ends inside a character, and may be empty while one is incomplete or a stop text may be forming. A
    server's answer has no `token_ids`. `probabilities` are those of the tokens, if the request asks for them. `thought`
    is the part of the piece that the model thought before it began to answer; it precedes `text`, and the marks around
    a thought belong to neither.
    """

    turn: int
    text: str
    token_ids: tuple[TokenId, ...]
    probabilities: tuple[TokenProbability, ...] = ()
    thought: str = ""


class Notice(msgspec.Struct, frozen=True, tag=True):
    """One line for the user, such as why a state file was not used.

    Attributes:
        text: The line.
        is_lasting: Whether it comes with every reply of the model and says the same, so that once is enough.
        chat_id: The chat of a reply that has ended, if it came after that end; it may then be among the events of
            another request.
    """

    text: str
    is_lasting: bool = False
    chat_id: str | None = None


TOKENISED_AGAIN = "This chat was held with another vocabulary; its text is tokenised again for this model."
"""An engine's notice that it cannot use the token ids of a chat; it stands here so that the screen can tell it once."""


class Finished(msgspec.Struct, frozen=True, tag=True):
    """The answer has ended; the last event of a turn. The engine may save its state afterwards."""

    turn: int
    stop_reason: StopReason
    usage: Usage


class IdlePrefillProgress(msgspec.Struct, frozen=True, tag=True):
    """The progress of idle prefill: `ready_tokens` of the `total_tokens` of the certain prefix are read."""

    ready_tokens: Count
    total_tokens: Count


class IdlePrefillFinished(msgspec.Struct, frozen=True, tag=True):
    """Idle prefill has ended; `ready_tokens` of the next prompt need not be read again."""

    ready_tokens: Count


class PromptPart(msgspec.Struct, frozen=True):
    """A part of a prompt: text, or one special token, which the model tells from the same letters as text."""

    text: str
    is_special_token: bool = False


class PromptEstimate(msgspec.Struct, frozen=True, tag=True):
    """The cost of a reply: of its prompt, `kept_tokens` are cached and `read_tokens` have to be read.

    Reading takes about `read_seconds`, which is None until this engine has read something and knows its speed. `prompt`
    is the whole prompt as it is fed token by token, if the request asks for it; the template that has rendered it comes
    from `template_source`. The text of its last message has `message_tokens`, and the oldest `left_out_messages` after
    the system prompt do not fit into it.
    """

    kept_tokens: Count
    read_tokens: Count
    read_seconds: Seconds | None
    prompt: tuple[PromptPart, ...] = ()
    template_source: str = ""
    message_tokens: Count = 0
    left_out_messages: Count = 0


class Tokenized(msgspec.Struct, frozen=True, tag=True):
    """The tokens of a text, or the text of tokens.

    `pieces` are the bytes of each token in UTF-8, special tokens by their names, if the request asks for them. A piece
    may be a part of a character.
    """

    token_ids: tuple[TokenId, ...]
    text: str
    pieces: tuple[bytes, ...] = ()


class FailureCause(StrEnum):
    """What failed, as far as it decides what can be done about it. All but the first are faults of servers."""

    ENGINE = "engine"
    NOT_FOUND = "server not found"
    REFUSED = "connection refused"
    NOT_TRUSTED = "certificate not trusted"
    KEY_REFUSED = "key refused"
    NO_SUCH_MODEL = "no such model"
    BUSY = "server busy"
    SERVER_ERROR = "server error"
    CUT_OFF = "stream cut off"
    ERROR_IN_STREAM = "error in the stream"
    NO_END = "stream without an end"
    SILENT = "server silent"


class Failed(msgspec.Struct, frozen=True, tag=True):
    """An answer (of `turn`) or anything else (None) failed; the last event of it. The engine itself still lives.

    If the prompt does not fit into the context, `prompt_tokens` are its tokens.
    """

    turn: int | None
    message: str
    hint: str = ""
    cause: FailureCause = FailureCause.ENGINE
    prompt_tokens: Count = 0
