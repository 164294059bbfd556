"""The fields of a request that say how tokens are chosen: OpenAI's, and llama-server's and vLLM's further ones."""

from typing import Any, TypeAlias

from tui_llama.serve.openai.request.unfollowed import UnfollowedFields

Json: TypeAlias = Any


class SamplingFields(UnfollowedFields, kw_only=True):
    """What both endpoints take. `asked_sampling` gives these fields the names of `SamplingSettings`."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repeat_penalty: float | None = None
    repetition_penalty: float | None = None
    repeat_last_n: int | None = None
    typical_p: float | None = None
    top_n_sigma: float | None = None
    min_keep: int | None = None
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    dynatemp_range: float | None = None
    dynatemp_exponent: float | None = None
    dry_multiplier: float | None = None
    dry_base: float | None = None
    dry_allowed_length: int | None = None
    dry_penalty_last_n: int | None = None
    dry_sequence_breakers: list[str] | None = None
    mirostat: int | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    adaptive_target: float | None = None
    adaptive_decay: float | None = None
    samplers: list[str] | str | None = None
    logit_bias: dict[str, float | bool] | list[tuple[int | str, float | bool]] | None = None
