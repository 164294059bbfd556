"""Requests to an engine and the events that answer them: the border between the screen and the tensors.

Two engines speak this protocol: `local` (our kernels, in a process of its own behind `process/worker`) and `scripted`
(replays a script). Every message is a tagged msgspec structure, so the same
types travel over pipes. This module knows no weights, arrays or widgets.
"""

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Protocol, TypeAlias

import msgspec

from tui_llama.chat import ChatMessage, Count, SamplingSettings, Seconds, StopReason, TokenId, Usage
from tui_llama.engine.descriptions import ModelInfo

DEFAULT_CONTEXT_SIZE = 8192

CACHE_TYPES = ("f16", "q8_0")
"""The types of keys and values in memory."""
NUMA_MODES = ("distribute", "isolate", "numactl")
"""The ways to spread threads and weights over a machine with several nodes; the names are llama.cpp's."""

DEFAULT_DRAFT_MAX = 7
"""The most draft tokens: with the token before them, as many as the matrix kernels take in one pass."""


class OverflowMode(StrEnum):
    """The action of the engine when the context is full."""

    DROP_TURNS = "drop turns"
    SHIFT = "shift"
    EXTEND = "extend"
    STOP = "stop"


class Overflow(msgspec.Struct, frozen=True):
    """The action of the engine when the context is full, and its sizes in tokens.

    Dropping turns leaves the oldest turns out of the prompt; an answer or a continuation ends where the context ends. A
    shift forgets the older half of all but the first `keep_tokens` (-1: the prompt) and goes on, as llama.cpp does.
    Extending lets older tokens share positions, `group_size` at a time, as soon as another `group_width` positions are
    taken; llama.cpp calls the two `grp-attn-n` and `grp-attn-w`. Stopping does nothing: the engine refuses a prompt
    that is too long.
    """

    mode: OverflowMode = OverflowMode.DROP_TURNS
    keep_tokens: int = 0
    group_size: int = 4
    group_width: int = 512


# --- requests -------------------------------------------------------------------------------------------------------


class LoadRequest(msgspec.Struct, frozen=True, tag=True):
    """Open a model and make it ready to answer.

    `context_size` 0 means the smaller of the model's own context and `DEFAULT_CONTEXT_SIZE`; `threads` 0 means one
    for each physical core, and `batch_threads` 0 (they read prompts) as many as `threads`. `batch_tokens` is the most
    that one pass over the weights reads; `cache_type` is the type of keys and values. The prompt cache stores them from
    chat to chat in `prompt_cache_folder`, "" for nowhere, where all together take at most `prompt_cache_bytes`, 0 for
    the smaller of 10 GiB and a tenth of the free space. The rest says where threads run; see `placement.Placement`.
    """

    model_path: str
    context_size: int = 0
    threads: int = 0
    batch_tokens: int = 512
    batch_threads: int = 0
    cache_type: str = "f16"
    prompt_cache_folder: str = ""
    prompt_cache_bytes: int = 0
    cpu_mask: str = ""
    cpu_range: str = ""
    priority: int = 0
    poll: int = 50
    numa: str = ""


class ReplyRequest(msgspec.Struct, frozen=True, tag=True):
    """Answer a conversation.

    `ledger` holds the tokens that this branch has fed to the model so far; the engine never tokenises their text again.
    Their ids belong to the vocabulary with the fingerprint `vocabulary`; a model of another one cannot use them. If it
    is "", the vocabulary is unknown, and the engine uses the ids that write the text of the messages.

    `begun_at` is when the chat began, in the local time of then with its offset (ISO 8601), for a template that asks
    for the date; "" is the present. `chat_id`, 32 hexadecimal digits, is the owner of the keys and values that the
    prompt cache stores after the answer; with None the engine does not use the prompt cache.

    With `max_tokens` None only the context limits the answer. `draft_max` is the most tokens that speculation drafts
    at once from the context, 0 for none; it changes the speed and never the answer. `overflow` is what the engine does
    when the context is full. `ignore_eos` never lets the model end its answer. `loop_guard` ends an answer that repeats
    the same passage, by the rule of `loop_guard.py`; an engine does not do that by itself, so a caller that shows
    answers to people asks for it.

    `given_sampling` has the names of those fields of `sampling` that somebody has chosen; a server, which has defaults
    of its own, is told no others. `template_values` is a JSON object with further variables of the chat template, such
    as `tools` and `enable_thinking`; "" is none. `json_schema` and `grammar` (GBNF) bind the answer, "" for none. With
    `top_probabilities`, every token comes with its log-probability and those of so many likeliest others. An engine
    that cannot do one of these fails the reply and says so.
    """

    turn: int
    messages: tuple[ChatMessage, ...]
    ledger: tuple[int, ...] = ()
    sampling: SamplingSettings = SamplingSettings()
    max_tokens: int | None = None
    stop_texts: tuple[str, ...] = ()
    chat_id: str | None = None
    draft_max: int = DEFAULT_DRAFT_MAX
    overflow: Overflow = Overflow()
    ignore_eos: bool = False
    loop_guard: bool = False
    vocabulary: str = ""
    begun_at: str = ""
    given_sampling: tuple[str, ...] = ()
    template_values: str = ""
    json_schema: str = ""
    grammar: str = ""
    top_probabilities: int | None = None


class CompleteRequest(msgspec.Struct, frozen=True, tag=True):
    """Continue `text` as it stands, without a chat template; the rest is as in `ReplyRequest`.

    With a `ledger` the text follows its tokens, all of which are kept; the text may then be empty. If the ledger ends
    in an answer that was cut off and is to go on, `answer` is the text of that answer as far as it was shown, and the
    last `answer_tokens` tokens of the ledger are the answer's own. The template's end of an answer then ends this one
    too, and text of tokens that was held back comes first.

    If the ledger may lack a part of the conversation in the model's vocabulary, `messages` are that conversation. The
    last of them is the answer, and `answer_has_ended` tells whether it is complete. If the tokens do not write its
    text, the template renders the conversation, and the engine uses as much of the ledger as for a `ReplyRequest`.
    """

    turn: int
    text: str
    sampling: SamplingSettings = SamplingSettings()
    max_tokens: int | None = None
    stop_texts: tuple[str, ...] = ()
    draft_max: int = DEFAULT_DRAFT_MAX
    overflow: Overflow = Overflow()
    ignore_eos: bool = False
    ledger: tuple[int, ...] = ()
    chat_id: str | None = None
    loop_guard: bool = False
    answer: str | None = None
    answer_tokens: int = 0
    messages: tuple[ChatMessage, ...] = ()
    answer_has_ended: bool = False
    vocabulary: str = ""
    begun_at: str = ""
    given_sampling: tuple[str, ...] = ()
    template_values: str = ""
    json_schema: str = ""
    grammar: str = ""
    top_probabilities: int | None = None


class IdlePrefillRequest(msgspec.Struct, frozen=True, tag=True):
    """Run idle prefill: read the certain prefix of the next prompt.

    `messages` is the conversation up to now, and `draft` the beginning of the next message, as far as it is likely to
    stay; it may be empty. The rest is as in `ReplyRequest`, with the values that the next one will have. Any other
    request ends idle prefill. The engine does not store its keys and values by itself.
    """

    messages: tuple[ChatMessage, ...]
    draft: str = ""
    ledger: tuple[int, ...] = ()
    max_tokens: int | None = None
    chat_id: str | None = None
    overflow: Overflow = Overflow()
    vocabulary: str = ""
    begun_at: str = ""


class StopIdlePrefill(msgspec.Struct, frozen=True, tag=True):
    """End idle prefill after the chunk that the engine is reading. Without idle prefill, this has no effect."""


class EstimateRequest(msgspec.Struct, frozen=True, tag=True):
    """Estimate what a `ReplyRequest` of the same fields would have to read, without reading anything.

    `shows_prompt` asks for the prompt itself as well.
    """

    messages: tuple[ChatMessage, ...]
    ledger: tuple[int, ...] = ()
    max_tokens: int | None = None
    chat_id: str | None = None
    overflow: Overflow = Overflow()
    vocabulary: str = ""
    begun_at: str = ""
    shows_prompt: bool = False


class TokenizeRequest(msgspec.Struct, frozen=True, tag=True):
    """Tell the tokens of `text`, or, if it is None, the text of `token_ids`.

    `add_special` adds the tokens that begin and end a sequence; `parse_special` reads the names of special tokens in
    the text as these tokens.
    """

    text: str | None
    token_ids: tuple[int, ...] = ()
    add_special: bool = False
    parse_special: bool = False


class CancelRequest(msgspec.Struct, frozen=True, tag=True):
    """Stop the work for `turn` (None: the load) at the next token, prompt chunk or stage."""

    turn: int | None


class ShutdownRequest(msgspec.Struct, frozen=True, tag=True):
    """Finish saving and end the process."""


AnsweredRequest: TypeAlias = (
    LoadRequest | ReplyRequest | CompleteRequest | IdlePrefillRequest | EstimateRequest | TokenizeRequest
)
Request: TypeAlias = AnsweredRequest | StopIdlePrefill | CancelRequest | ShutdownRequest

# --- events ---------------------------------------------------------------------------------------------------------


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
    """The model is ready. `notices` are for the user, one line each (guessed template, decoded types)."""

    model: ModelInfo
    notices: tuple[str, ...] = ()


class PromptEncoded(msgspec.Struct, frozen=True, tag=True):
    """The prompt as tokens: the first `kept_tokens` of the request's ledger, then `token_ids`.

    The oldest `left_out_messages` after the system prompt did not fit into the context. These ids, and those of the
    answer, belong to the vocabulary with the fingerprint `vocabulary`. If an answer goes on and was tokenised again,
    its own tokens are the last `answer_tokens`; if not, that is None.
    """

    turn: int
    kept_tokens: Count
    token_ids: tuple[TokenId, ...]
    left_out_messages: Count = 0
    vocabulary: str = ""
    answer_tokens: Count | None = None


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
    server's answer has no `token_ids`. `probabilities` are those of the tokens, if the request asks for them.
    """

    turn: int
    text: str
    token_ids: tuple[TokenId, ...]
    probabilities: tuple[TokenProbability, ...] = ()


class Notice(msgspec.Struct, frozen=True, tag=True):
    """One line for the user, such as why a state file was not used."""

    text: str


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
    from `template_source`.
    """

    kept_tokens: Count
    read_tokens: Count
    read_seconds: Seconds | None
    prompt: tuple[PromptPart, ...] = ()
    template_source: str = ""


class Tokenized(msgspec.Struct, frozen=True, tag=True):
    """The tokens of a text, or the text of tokens."""

    token_ids: tuple[TokenId, ...]
    text: str


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
    """An answer (of `turn`) or anything else (None) failed; the last event of it. The engine itself still lives."""

    turn: int | None
    message: str
    hint: str = ""
    cause: FailureCause = FailureCause.ENGINE


LoadEvent: TypeAlias = LoadProgress | ModelLoaded | Notice | Failed
ReplyEvent: TypeAlias = PromptEncoded | PromptProgress | TextPiece | Notice | Finished | Failed
IdlePrefillEvent: TypeAlias = IdlePrefillProgress | Notice | IdlePrefillFinished | Failed
Event: TypeAlias = LoadEvent | ReplyEvent | IdlePrefillEvent | PromptEstimate | Tokenized

LAST_EVENTS = (ModelLoaded, Finished, IdlePrefillFinished, PromptEstimate, Tokenized, Failed)
"""The events that end the answer to a request."""


class Engine(Protocol):
    """Answers requests, one at a time; idle prefill gives way to any other request."""

    def load(self, request: LoadRequest) -> AsyncIterator[LoadEvent]:
        """Yields progress, then exactly one of `ModelLoaded` and `Failed`.

        Raises:
            EngineLostError: the engine's process ended.
        """
        ...

    def reply(self, request: ReplyRequest | CompleteRequest) -> AsyncIterator[ReplyEvent]:
        """Yields the events of a reply, the last of them `Finished` or `Failed`.

        Raises:
            EngineLostError: the engine's process ended; the next `load` starts a new one.
        """
        ...

    def idle_prefill(self, request: IdlePrefillRequest) -> AsyncIterator[IdlePrefillEvent]:
        """Yields the events of idle prefill, the last of them `IdlePrefillFinished` or `Failed`.

        A caller that stops iterating ends idle prefill. Any other request ends the events without a last one.

        Raises:
            EngineLostError: the engine's process ended.
        """
        ...

    async def estimate(self, request: EstimateRequest) -> PromptEstimate:
        """Returns what a reply would have to read.

        Raises:
            EngineError: there can be no such prompt, and why.
            EngineLostError: the engine's process ended.
        """
        ...

    async def tokenize(self, request: TokenizeRequest) -> Tokenized:
        """Returns the tokens of a text, or the text of tokens.

        Raises:
            EngineError: there is no such token, or this engine does not know them.
            EngineLostError: the engine's process ended.
        """
        ...

    @property
    def is_alive(self) -> bool:
        """True if there is a process to ask: false before the first load, and once it has ended."""
        ...

    def cancel(self) -> None:
        """Stops the current request at the next token, chunk or stage; does nothing if there is none.

        A stopped reply still ends with `Finished`, its reason `STOPPED`.
        """
        ...

    async def close(self) -> None:
        """Ends the engine, once it has saved what it is saving. May be called twice."""
        ...
