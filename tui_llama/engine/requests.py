"""The requests to an engine. Each is a tagged msgspec structure, so the same types travel over pipes."""

from enum import StrEnum

import msgspec

from tui_llama.chat import ChatMessage, Thinking
from tui_llama.sampling.settings import SamplingSettings

DEFAULT_CONTEXT_SIZE = 8192

CACHE_TYPES = ("f16", "q8_0")
"""The types of keys and values in memory."""
WHEREVER_THEY_FIT, IN_MEMORY, IN_FILE = EXPERT_PLACES = ("auto", "memory", "file")
"""Where the weights of experts are: in memory as many as fit and the others in the model file, or all in one place."""
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


class LoadRequest(msgspec.Struct, frozen=True, tag=True):
    """Open a model and make it ready to answer.

    `context_size` 0 means the smaller of the model's own context and `DEFAULT_CONTEXT_SIZE`; `threads` 0 means one
    for each physical core, and `batch_threads` 0 (they read prompts) as many as `threads`. `batch_tokens` is the most
    that one pass over the weights reads; `cache_type` is the type of keys and values. The prompt cache stores them from
    chat to chat in `prompt_cache_folder`, "" for nowhere, where all together take at most `prompt_cache_bytes`, 0 for
    the smaller of 10 GiB and a tenth of the free space. `experts`, one of `EXPERT_PLACES`, says where the weights of a
    mixture's experts are. The rest says where threads run; see `placement.Placement`.
    """

    model_path: str
    context_size: int = 0
    threads: int = 0
    batch_tokens: int = 512
    batch_threads: int = 0
    cache_type: str = "f16"
    experts: str = WHEREVER_THEY_FIT
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
    as `tools` and `enable_thinking`; "" is none. `json_schema` and `grammar` (GBNF) bind the answer, "" for none; one
    that begins with one of the `free_marks`, such as that of a tool call, is free. With `top_probabilities`, every
    token comes with its log-probability and those of so many likeliest others. An engine that cannot do one of these
    fails the reply and says so.

    `thinking` is whether the model is to think first, as far as its template knows that; a thought of more than
    `thinking_tokens` is closed, and the answer begins. The answer begins with `reply_start`, whose text is not told
    again.

    `keeps_template` fails a reply whose messages the model's own template refuses; by default another one writes them,
    and the user is told.
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
    free_marks: tuple[str, ...] = ()
    top_probabilities: int | None = None
    keeps_template: bool = False
    thinking: Thinking = Thinking.DEFAULT
    thinking_tokens: int | None = None
    reply_start: str = ""


class CompleteRequest(msgspec.Struct, frozen=True, tag=True):
    """Continue `text` as it stands, without a chat template; the rest is as in `ReplyRequest`.

    With a `ledger` the text follows its tokens, all of which are kept; the text may then be empty. If the ledger ends
    in an answer that was cut off and is to go on, `answer` is the text of that answer as far as it was shown,
    `answer_thought` the thought before it, and the last `answer_tokens` tokens of the ledger are the answer's own. The
    template's end of an answer then ends this one too, and text of tokens that was held back comes first.

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
    answer_thought: str = ""
    vocabulary: str = ""
    begun_at: str = ""
    given_sampling: tuple[str, ...] = ()
    template_values: str = ""
    json_schema: str = ""
    grammar: str = ""
    free_marks: tuple[str, ...] = ()
    top_probabilities: int | None = None
    keeps_template: bool = False
    thinking: Thinking = Thinking.DEFAULT
    thinking_tokens: int | None = None


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
    thinking: Thinking = Thinking.DEFAULT
    reply_start: str = ""


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
    thinking: Thinking = Thinking.DEFAULT
    reply_start: str = ""


class TokenizeRequest(msgspec.Struct, frozen=True, tag=True):
    """Tell the tokens of `text`, or, if it is None, the text of `token_ids`.

    `add_special` adds the tokens that begin and end a sequence; `parse_special` reads the names of special tokens in
    the text as these tokens. `with_pieces` asks for the bytes of each token as well.
    """

    text: str | None
    token_ids: tuple[int, ...] = ()
    add_special: bool = False
    parse_special: bool = False
    with_pieces: bool = False


class CancelRequest(msgspec.Struct, frozen=True, tag=True):
    """Stop the work for `turn` (None: the load) at the next token, prompt chunk or stage."""

    turn: int | None


class AnswerNow(msgspec.Struct, frozen=True, tag=True):
    """Close the thought of the reply of `turn` at the next token, so that its text begins; else, this has no effect."""

    turn: int


class ShutdownRequest(msgspec.Struct, frozen=True, tag=True):
    """Finish saving and end the process."""
