"""What may be asked of an engine and what it answers; the border between the screen and the tensors.

Three engines speak it: `local` (our kernels, in a process of its own behind `worker`), `scripted` (replays a script)
and, later, `remote` (an OpenAI-compatible server). Every message is a tagged msgspec structure, so the same types
travel over pipes. Nothing here knows weights, arrays or widgets.
"""

from collections.abc import AsyncIterator, Mapping
from enum import StrEnum
from typing import Protocol, TypeAlias

import msgspec

from tui_llama.chat import ChatMessage, Count, SamplingSettings, Seconds, StopReason, TokenId, Usage

DEFAULT_CONTEXT_SIZE = 8192

CACHE_TYPES = ("f16", "q8_0")
"""How keys and values may be kept."""
NUMA_MODES = ("distribute", "isolate", "numactl")
"""Where threads and weights may go on a machine with several nodes; the names are llama.cpp's."""

DEFAULT_DRAFT_MAX = 7
"""With the token before them as many as the matrix kernels take in one pass."""


class OverflowMode(StrEnum):
    """What is done when the context is full."""

    DROP_TURNS = "drop turns"
    SHIFT = "shift"
    EXTEND = "extend"
    STOP = "stop"


class Overflow(msgspec.Struct, frozen=True):
    """What is done when the context is full.

    Dropping turns leaves the oldest ones out of the prompt; an answer ends where the context ends, and so does a
    continuation. A shift forgets the older half of all but the first `keep_tokens` (-1: the prompt) and goes on, as
    llama.cpp does. To extend is to let older tokens share positions, `group_size` at a time, as soon as another
    `group_width` positions are taken; llama.cpp calls the two `grp-attn-n` and `grp-attn-w`. To stop is to do nothing:
    a prompt that is too long is refused.
    """

    mode: OverflowMode = OverflowMode.DROP_TURNS
    keep_tokens: int = 0
    group_size: int = 4
    group_width: int = 512


# --- requests -------------------------------------------------------------------------------------------------------


class LoadRequest(msgspec.Struct, frozen=True, tag=True):
    """Open a model and make it ready to answer.

    `context_size` 0 means the smaller of the model's own context and `DEFAULT_CONTEXT_SIZE`; `threads` 0 means one
    for each physical core, `batch_threads` (they read prompts) 0 as many as `threads`; `batch_tokens` is the most that
    one pass over the weights reads; `cache_type` is how keys and values are kept. They are stored from chat to chat in
    `prompt_cache_folder`, "" for nowhere, where all together take at most `prompt_cache_bytes`, 0 for the smaller of
    10 GiB and a tenth of what is free. The rest says where threads run; see `placement.Placement`.
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

    `ledger` is what this branch has fed to the model so far, token by token: what it covers is never tokenised
    again. Its ids are those of the `vocabulary` of that fingerprint, and of no use to a model of another one; "" is
    one that nobody knows, of which is used what writes the text. `begun_at` is when the chat began, in the local time
    of then with its offset (ISO 8601): what a template is told that asks for the date; "" is the present. `chat_id`, 32
    hexadecimal digits, says whose keys and values are stored after the answer; with None nothing is taken from the
    prompt cache and nothing goes there. `max_tokens` None leaves only the context as a limit.
    `draft_max` is the most tokens that are guessed at once from what stands in the context, 0 none; it changes the
    speed and never the answer. `overflow` is what is done when the context is full. `ignore_eos` never lets the model
    end its answer. `loop_guard` ends an answer that is the same passage over and over, as `loop_guard.py` has it; an
    engine does not do that by itself, so whoever writes for people asks for it.
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


class CompleteRequest(msgspec.Struct, frozen=True, tag=True):
    """Continue `text` as it stands, without a chat template; the rest is as in `ReplyRequest`.

    Where there is a `ledger`, the text stands behind its tokens, all of which are kept; it may then be empty. Where
    the ledger ends in an answer that was cut off and is to go on, `answer` is the text of that answer as far as it was
    shown and its last `answer_tokens` tokens are the answer's own: what the template ends answers with ends this one
    too, and text of tokens that was held back comes first.

    Where the ledger is not known to have all of a conversation in the model's vocabulary, `messages` are that
    conversation, and the last is the answer that `answer_has_ended` or not. If the tokens are not those of its text,
    the template writes it, and the ledger keeps of it what it keeps for a `ReplyRequest`.
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


class ReadAheadRequest(msgspec.Struct, frozen=True, tag=True):
    """Read, while there is nothing else to do, what the next prompt is certain to begin with.

    `messages` is the conversation up to now and `draft` the beginning of the message that will follow it: what is
    certain to stay, as far as anybody can tell. It may be empty. The rest is as in `ReplyRequest`, and as the next one
    will have it. Any other request ends the reading; nothing of it is stored by itself.
    """

    messages: tuple[ChatMessage, ...]
    draft: str = ""
    ledger: tuple[int, ...] = ()
    max_tokens: int | None = None
    chat_id: str | None = None
    overflow: Overflow = Overflow()
    vocabulary: str = ""
    begun_at: str = ""


class StopReadingAhead(msgspec.Struct, frozen=True, tag=True):
    """Read ahead no further than to the end of the chunk that is being read; else without effect."""


class EstimateRequest(msgspec.Struct, frozen=True, tag=True):
    """Say what a `ReplyRequest` of the same fields would have to read, without reading anything.

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


class CancelRequest(msgspec.Struct, frozen=True, tag=True):
    """Stop what the engine is doing for `turn` (None: the load) at the next token, prompt chunk or stage."""

    turn: int | None


class ShutdownRequest(msgspec.Struct, frozen=True, tag=True):
    """Finish saving and end the process."""


AnsweredRequest: TypeAlias = LoadRequest | ReplyRequest | CompleteRequest | ReadAheadRequest | EstimateRequest
Request: TypeAlias = AnsweredRequest | StopReadingAhead | CancelRequest | ShutdownRequest

# --- events ---------------------------------------------------------------------------------------------------------


class LoadStage(StrEnum):
    """What loading is busy with; in this order."""

    READ = "read"
    COMPILE = "compile"
    REPACK = "repack"
    WARM_UP = "warm up"


class LoadProgress(msgspec.Struct, frozen=True, tag=True):
    """How far loading has come: `done` of `total` in units of the stage (bytes, kernels, steps)."""

    stage: LoadStage
    done: Count
    total: Count


class ModelInfo(msgspec.Struct, frozen=True):
    """What the screen says of a loaded model. Names come from the file and are not safe to print as they are.

    `sampling` is what the file recommends, by the names of `chat.SamplingSettings`; it is not checked. `vocabulary` is
    the fingerprint of what token ids mean: equal only where they mean the same.
    """

    name: str
    path: str
    architecture: str
    quantization: str
    parameter_count: Count
    weight_bytes: Count
    vocab_size: Count
    context_size: Count
    trained_context_size: Count
    key_value_bytes_per_token: Count
    template_source: str
    sampling: Mapping[str, float] = {}
    vocabulary: str = ""


class ModelFacts(msgspec.Struct, frozen=True):
    """What a model file says of itself. Texts come from the file and are not safe to print as they are.

    Attributes:
        path: The file.
        name: `general.name`; empty where the file has none.
        architecture: `general.architecture`.
        refusal: Why this engine cannot run it, one line; empty where it can, as far as the header tells.
        quantization: The type of most of its matrices.
        parameter_count: Elements of all tensors.
        file_bytes: Size of the file.
        weight_bytes: What its weights take in memory.
        bytes_read_per_token: Bytes of weights that writing one token reads; the embedding of a model whose output has
            weights of its own is not among them.
        layer_count: How many layers it has; 0 where nobody knows.
        trained_context_size: Tokens that it was trained to see; 0 where nobody knows.
        key_value_bytes_per_token: Bytes of one token's keys and values as float16; 0 where nobody knows.
        licence: `general.license`; empty where the file has none.
        template_source: Where its chat template comes from, in words.
        sampling: Recommended sampling, by the names of `chat.SamplingSettings`; not checked.
    """

    path: str
    name: str = ""
    architecture: str = ""
    refusal: str = ""
    quantization: str = ""
    parameter_count: int = 0
    file_bytes: int = 0
    weight_bytes: int = 0
    bytes_read_per_token: int = 0
    layer_count: int = 0
    trained_context_size: int = 0
    key_value_bytes_per_token: int = 0
    licence: str = ""
    template_source: str = ""
    sampling: Mapping[str, float] = {}


class ReadSpeed(msgspec.Struct, frozen=True):
    """How fast a machine reads memory, as it was measured.

    Attributes:
        bytes_per_second: Bytes that a thread for each core reads a second, together.
        was_disturbed: Whether other programs had the processors for a good part of the time.
    """

    bytes_per_second: float
    was_disturbed: bool


class ModelLoaded(msgspec.Struct, frozen=True, tag=True):
    """The model is ready. `notices` are one-liners that the user should see (guessed template, decoded types)."""

    model: ModelInfo
    notices: tuple[str, ...] = ()


class PromptEncoded(msgspec.Struct, frozen=True, tag=True):
    """The prompt as tokens: the first `kept_tokens` of the request's ledger, then `token_ids`.

    The oldest `left_out_messages` after the system prompt did not fit into the context. These ids, and those that are
    generated, are of the `vocabulary` of that fingerprint. Of an answer that goes on and was tokenised again, the last
    `answer_tokens` are its own; None where no answer was.
    """

    turn: int
    kept_tokens: Count
    token_ids: tuple[TokenId, ...]
    left_out_messages: Count = 0
    vocabulary: str = ""
    answer_tokens: Count | None = None


class RereadCause(StrEnum):
    """Why much of a conversation that was read before has to be read again."""

    TEMPLATE_CHANGES_ANSWERS = "template changes answers"
    MESSAGE_CHANGED = "message changed"
    ANOTHER_MODEL = "another model"
    NOT_STORED = "not stored"
    MESSAGES_LEFT_OUT = "messages left out"
    DATE_RENEWED = "date renewed"


class PromptProgress(msgspec.Struct, frozen=True, tag=True):
    """Reading the prompt: `reused_tokens` were cached, `done_tokens` of `total_tokens` (reused ones counted) are in.

    `reread_cause` says why, if clearly more has to be read than the new message.
    """

    turn: int
    reused_tokens: Count
    done_tokens: Count
    total_tokens: Count
    reread_cause: RereadCause | None = None


class TextPiece(msgspec.Struct, frozen=True, tag=True):
    """A piece of the answer and the tokens sampled since the last piece.

    `text` never ends inside a character, and may be empty while one is incomplete or a stop text may be forming.
    """

    turn: int
    text: str
    token_ids: tuple[TokenId, ...]


class Notice(msgspec.Struct, frozen=True, tag=True):
    """One line that the user should see, such as why a state file was not used."""

    text: str


TOKENISED_AGAIN = "This chat was held with another vocabulary; its text is tokenised again for this model."
"""An engine's notice that it cannot use the token ids of a chat; it stands here so that the screen can tell it once."""


class Finished(msgspec.Struct, frozen=True, tag=True):
    """The answer has ended; the last event of a turn. Saving of the state may follow in the background."""

    turn: int
    stop_reason: StopReason
    usage: Usage


class ReadAheadProgress(msgspec.Struct, frozen=True, tag=True):
    """Of the `total_tokens` that the next prompt is certain to begin with, `ready_tokens` need not be read again."""

    ready_tokens: Count
    total_tokens: Count


class ReadAheadFinished(msgspec.Struct, frozen=True, tag=True):
    """Nothing more is read ahead; `ready_tokens` of the next prompt need not be read again."""

    ready_tokens: Count


class PromptPart(msgspec.Struct, frozen=True):
    """A piece of a prompt: text, or one token of those that a model is trained to tell from the same letters."""

    text: str
    is_special_token: bool = False


class PromptEstimate(msgspec.Struct, frozen=True, tag=True):
    """What a reply would cost: of its prompt, `kept_tokens` are cached and `read_tokens` have to be read.

    That would take `read_seconds`; None as long as this engine has read nothing to go by. `prompt` is all of it, as it
    is fed token by token, if that was asked for; a template of `template_source` has written it.
    """

    kept_tokens: Count
    read_tokens: Count
    read_seconds: Seconds | None
    prompt: tuple[PromptPart, ...] = ()
    template_source: str = ""


class Failed(msgspec.Struct, frozen=True, tag=True):
    """An answer (of `turn`) or anything else (None) failed; the last event of it. The engine itself still lives."""

    turn: int | None
    message: str
    hint: str = ""


LoadEvent: TypeAlias = LoadProgress | ModelLoaded | Notice | Failed
ReplyEvent: TypeAlias = PromptEncoded | PromptProgress | TextPiece | Notice | Finished | Failed
ReadAheadEvent: TypeAlias = ReadAheadProgress | Notice | ReadAheadFinished | Failed
Event: TypeAlias = LoadEvent | ReplyEvent | ReadAheadEvent | PromptEstimate

LAST_EVENTS = (ModelLoaded, Finished, ReadAheadFinished, PromptEstimate, Failed)
"""What ends the answer to a request."""


class Engine(Protocol):
    """Whoever can answer. One thing at a time, but reading ahead gives way to whatever else is asked."""

    def load(self, request: LoadRequest) -> AsyncIterator[LoadEvent]:
        """Yields progress, then exactly one of `ModelLoaded` and `Failed`.

        Raises:
            EngineLostError: the engine's process ended.
        """
        ...

    def reply(self, request: ReplyRequest | CompleteRequest) -> AsyncIterator[ReplyEvent]:
        """Yields what happens, then exactly one of `Finished` and `Failed`.

        Raises:
            EngineLostError: the engine's process ended; the next `load` starts a new one.
        """
        ...

    def read_ahead(self, request: ReadAheadRequest) -> AsyncIterator[ReadAheadEvent]:
        """Yields what happens, then exactly one of `ReadAheadFinished` and `Failed`.

        Whoever stops iterating stops the reading. When anything else is asked meanwhile, the events just end.

        Raises:
            EngineLostError: the engine's process ended.
        """
        ...

    async def estimate(self, request: EstimateRequest) -> PromptEstimate:
        """What a reply would have to read.

        Raises:
            EngineError: there can be no such prompt, and why.
            EngineLostError: the engine's process ended.
        """
        ...

    @property
    def is_alive(self) -> bool:
        """Whether there is a process to ask: false before the first load, and once it has ended."""
        ...

    def cancel(self) -> None:
        """Stops what is under way at the next token, chunk or stage; else does nothing.

        A reply so stopped still ends with `Finished`, its reason `STOPPED`.
        """
        ...

    async def close(self) -> None:
        """Ends the engine after what is being saved is saved. May be called twice."""
        ...
