"""Fields of other servers that would change the answer, or what is told with it, and that this server cannot follow.

They are declared to be refused. A value that switches such a field off is taken, because clients send these too.
"""

from typing import Any, Final, TypeAlias

import msgspec

Json: TypeAlias = Any

_NUMBER_OFF: Final = (None, 0)
_FLAG_OFF: Final = (None, False)
_FLAG_ON: Final = (None, True)
_LIST_OFF: Final[tuple[Json, ...]] = (None, [])


class UnfollowedFields(msgspec.Struct, kw_only=True):
    """What both endpoints refuse unless it is off."""

    top_a: Json = None
    tfs_z: Json = None
    min_tokens: Json = None
    stop_token_ids: Json = None
    bad_words: Json = None
    use_beam_search: Json = None
    lora: Json = None
    reasoning_budget_message: Json = None
    enable_thinking: Json = None
    cache_prompt: Json = None
    n_probs: Json = None
    post_sampling_probs: Json = None
    prompt_logprobs: Json = None
    return_tokens: Json = None
    return_token_ids: Json = None
    include_stop_str_in_output: Json = None


OFF_VALUES: Final[dict[str, tuple[Json, ...]]] = {
    **dict.fromkeys(("top_a", "min_tokens", "n_probs"), _NUMBER_OFF),
    "tfs_z": (None, 1),
    **dict.fromkeys(("stop_token_ids", "bad_words", "lora"), _LIST_OFF),
    "reasoning_budget_message": (None, ""),
    **dict.fromkeys(("enable_thinking", "cache_prompt"), _FLAG_ON),
    **dict.fromkeys(("use_beam_search", "post_sampling_probs", "include_stop_str_in_output"), _FLAG_OFF),
    **dict.fromkeys(("prompt_logprobs", "return_tokens", "return_token_ids"), _FLAG_OFF),
}
"""The values of each field with which it changes nothing."""

INSTEAD: Final = {
    "enable_thinking": "Send it inside chat_template_kwargs.",
    "n_probs": "Send logprobs and top_logprobs.",
    "stop_token_ids": "Send the texts in stop.",
    "cache_prompt": "The server always reuses what it has read of a prompt; the answer is the same.",
}
"""What to do instead, where there is something."""
