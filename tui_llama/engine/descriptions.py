"""Descriptions of models and machines as they pass between processes: facts only, without arrays and widgets.

`protocol` has the requests to an engine and the events that answer them.
"""

from collections.abc import Mapping

import msgspec

from tui_llama.chat import Count, Thinking
from tui_llama.declarations import Value


class Capabilities(msgspec.Struct, frozen=True):
    """What an engine can do with its model. The screen hides what it cannot do, or says why it is not possible.

    Attributes:
        has_exact_tokens: It tells the ids of the tokens that it reads and writes, and takes them back.
        can_estimate: It can tell the cost of a prompt in advance, and show the prompt: `Engine.estimate`.
        can_prefill_idle: It can read the next prompt in advance: `Engine.idle_prefill`.
        can_continue: It can continue an answer that was cut off, and an answer whose start is given.
        sees_images: The model sees the images of messages.
        has_probabilities: It tells the log-probabilities of tokens.
        has_grammars: It can bind an answer to a grammar or a JSON schema.
        can_answer_now: It can close a thought before its end, so that the answer begins.
        why_not_continue: Why it cannot continue an answer, as a sentence; empty if it can.
    """

    has_exact_tokens: bool = True
    can_estimate: bool = True
    can_prefill_idle: bool = True
    can_continue: bool = True
    sees_images: bool = False
    has_probabilities: bool = False
    has_grammars: bool = False
    why_not_continue: str = ""
    can_answer_now: bool = True


class ModelInfo(msgspec.Struct, frozen=True):
    """The facts about a loaded model that the screen shows. Names come from the file and are not safe to print.

    The model of a server has the address of a `servers.address.RemoteModel` as its path, the server's name in
    `server`, and 0 or "" for what the server does not tell. `template_marks` are those of
    `chat_template.KNOWN_MARKS` that the chat template writes; they tell how the model writes thoughts and tool calls.

    `thinking` are the values of a request's `thinking` that the template, or the server, knows beside the default;
    empty where it cannot be told.

    `sampling` is the file's recommendation, by the names of `chat.SamplingSettings`; it is not checked. `vocabulary` is
    the vocabulary's fingerprint: two are equal only if token ids mean the same in both. `prompt_cache_folder` is the
    folder in which the keys and values of this model are stored; empty where none are.
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
    sampling: Mapping[str, Value] = {}
    vocabulary: str = ""
    server: str = ""
    template_marks: tuple[str, ...] = ()
    thinking: tuple[Thinking, ...] = ()
    capabilities: Capabilities = Capabilities()
    prompt_cache_folder: str = ""


class ModelFacts(msgspec.Struct, frozen=True):
    """The facts in the header of a model file. Texts come from the file and are not safe to print as they are.

    Attributes:
        path: The file.
        name: `general.name`; empty where the file has none.
        architecture: `general.architecture`.
        refusal: The reason why this engine cannot run it, one line; empty if it can, as far as the header tells.
        quantization: What people call its mixture of types, such as Q4_K_M, else the type of most of its matrices.
        parameter_count: Elements of all tensors.
        file_bytes: Size of the file.
        weight_bytes: Size of its weights in memory.
        expert_bytes: Of these, the weights of experts, which may stay in the file.
        bytes_read_per_token: Bytes of weights that writing one token reads; the embedding of a model whose output has
            weights of its own is not among them, and of experts only those that a token uses are.
        layer_count: The number of its layers; 0 if unknown.
        trained_context_size: Tokens that it was trained to see; 0 if unknown.
        key_value_bytes_per_token: Bytes of one token's keys and values as float16; 0 if unknown.
        window_bytes_per_token: Of these, the bytes in layers with a window, which forget old tokens.
        window_positions: Tokens that such layers keep at most; 0 if there are none.
        licence: `general.license`; empty if the file has none.
        template_source: The source of its chat template, in words.
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
    expert_bytes: int = 0
    bytes_read_per_token: int = 0
    layer_count: int = 0
    trained_context_size: int = 0
    key_value_bytes_per_token: int = 0
    window_bytes_per_token: int = 0
    window_positions: int = 0
    licence: str = ""
    template_source: str = ""
    sampling: Mapping[str, Value] = {}


class ReadSpeed(msgspec.Struct, frozen=True):
    """The measured speed at which a machine reads memory.

    Attributes:
        bytes_per_second: Bytes that the threads, one for each core, read a second together.
        was_disturbed: Whether other programs used the processors for a good part of the time.
    """

    bytes_per_second: float
    was_disturbed: bool
