"""Chooses the experts of each token from the router's numbers, and weighs them; layouts/routing.py says where they go.

Source: llama.cpp, src/llama-graph.cpp (`build_moe_ffn`), of October 2026.
"""

from typing import Any

import numba
import numpy as np
from numba import types

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import (
    F32,
    Builder,
    Value,
    at_address,
    batch_at,
    constant,
    first_token,
    float32_at,
    int32_at,
    row_at,
)
from tui_llama.engine.layouts.routing import LEAST_WEIGHT_SUM, ROUTING, SIGMOID, SOFTMAX, SOFTMAX_OF_CHOSEN
from tui_llama.engine.toolchain.numba_codegen import helper, intrinsic

routing_at = at_address(numba.from_dtype(ROUTING), "routing_at")

_LEAST_SUM = np.float32(LEAST_WEIGHT_SUM)


@intrinsic
def _exponential_16(_: Any, source: Any, target: Any, shift: Any) -> Any:
    """Writes exp(x - shift) for 16 float32."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        x = simd.load(b, simd.pointer(b, arguments[0]), 0, F32)
        simd.store(b, simd.exponential(b, b.fsub(x, simd.splat(b, arguments[2]))), simd.pointer(b, arguments[1]))
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.float32), generate


@intrinsic
def _sigmoid_16(_: Any, source: Any, target: Any) -> Any:
    """Writes 1 / (1 + exp(-x)) for 16 float32."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        x, one = simd.load(b, simd.pointer(b, arguments[0]), 0, F32), constant(F32, 1.0)
        value = b.fdiv(one, b.fadd(one, simd.exponential(b, b.fneg(x))))
        simd.store(b, value, simd.pointer(b, arguments[1]))
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp), generate


@helper
def _softmax(source: int, target: int, count: int) -> None:
    """Writes the softmax of `count` float32; both places have room for whole vectors of 16."""
    x, p = float32_at(np.uintp(source)), float32_at(np.uintp(target))
    largest = x[0]
    for i in range(1, count):
        largest = max(largest, x[i])
    for at in range(0, 4 * count, 64):
        _exponential_16(np.uintp(source + at), np.uintp(target + at), largest)
    total = np.float32(0.0)
    for i in range(count):
        total += p[i]
    for i in range(count):
        p[i] = p[i] / total


@helper
def _sigmoid(source: int, target: int, count: int) -> None:
    """Writes the sigmoid of `count` float32; both places have room for whole vectors of 16."""
    for at in range(0, 4 * count, 64):
        _sigmoid_16(np.uintp(source + at), np.uintp(target + at))


@helper
def _best(scores: Any, free: Any, count: int) -> int:
    """Returns the number of the greatest score that is free, the first of equal ones; -1 if none is free.

    One that is no number, and so not equal to itself, comes after all others.
    """
    best = -1
    for i in range(count):
        if free[i] and (
            best < 0 or scores[i] > scores[best] or (scores[best] != scores[best] and scores[i] == scores[i])
        ):
            best = i
    return best


@helper
def _keep_best_groups(scores: Any, free: Any, spare: int, routing: Any) -> None:
    """Leaves only the experts of the best groups free; a group counts as much as its two best experts together."""
    groups = routing.expert_group_count
    size = routing.expert_count // groups
    group_scores, group_is_free = float32_at(np.uintp(spare)), int32_at(np.uintp(spare + 4 * groups))
    for group in range(groups):
        first, second = np.float32(-np.inf), np.float32(-np.inf)
        for i in range(group * size, (group + 1) * size):
            if scores[i] > first:
                first, second = scores[i], first
            elif scores[i] > second:
                second = scores[i]
            free[i] = 0
        group_scores[group] = first + second if size > 1 else first
        group_is_free[group] = 1
    for _ in range(routing.used_expert_group_count):
        best = _best(group_scores, group_is_free, groups)
        group_is_free[best] = 0
        for i in range(best * size, (best + 1) * size):
            free[i] = 1


def choose_experts(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Chooses the experts of each token, and their weights. Unit: a token.

    The greatest scores choose, and of equal ones the lower number. A score that is no number never chooses before one.

    Plan row: `input` is float32 (tokens, experts) of the router, with room for whole vectors of 16; `extra` is float32
    (experts,) that is added to the scores that choose, or 0; `routing` is the rule and receives the choice. Scratch:
    20 bytes for each expert, their number rounded up to a multiple of 16.
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    routing = routing_at(np.uintp(row.routing))
    start, count, used = first_token(row, batch), routing.expert_count, routing.used_count
    room = -(-count // 16) * 64
    gated_at, scores_at, free_at = scratch, scratch + room, scratch + 2 * room
    gated, scores = float32_at(np.uintp(gated_at)), float32_at(np.uintp(scores_at))
    free, bias = int32_at(np.uintp(free_at)), float32_at(np.uintp(row.extra))
    by_logits = routing.selects_by_logits or routing.gating == SOFTMAX_OF_CHOSEN
    for unit in range(first, last):
        source = row.input + (start + unit) * row.input_stride
        logits = float32_at(np.uintp(source))
        if routing.gating == SOFTMAX:
            _softmax(source, gated_at, count)
        elif routing.gating == SIGMOID:
            _sigmoid(source, gated_at, count)
        for i in range(count):
            scores[i] = logits[i] if by_logits else gated[i]
            if row.extra:
                scores[i] += bias[i]
            free[i] = 1
        if routing.expert_group_count > 1:
            _keep_best_groups(scores, free, free_at + room, routing)
        chosen = int32_at(np.uintp(routing.chosen + unit * used * 4))
        weights = float32_at(np.uintp(routing.weights + unit * used * 4))
        for rank in range(used):
            expert = _best(scores, free, count)
            free[expert] = 0
            chosen[rank] = expert
            weights[rank] = logits[expert] if routing.gating == SOFTMAX_OF_CHOSEN else gated[expert]
        _finish_weights(routing, weights, gated_at, gated, used)


@helper
def _finish_weights(routing: Any, weights: Any, spare: int, values: Any, used: int) -> None:
    """Turns the chosen numbers into weights: softmax of the chosen, division by their sum, scale."""
    if routing.gating == SOFTMAX_OF_CHOSEN:
        for rank in range(used):
            values[rank] = weights[rank]
        _softmax(spare, spare, used)
        for rank in range(used):
            weights[rank] = values[rank]
    if routing.normalises:
        total = np.float32(0.0)
        for rank in range(used):
            total += weights[rank]
        total = max(total, _LEAST_SUM)
        for rank in range(used):
            weights[rank] = weights[rank] / total
    if routing.weights_scale != np.float32(1.0):
        for rank in range(used):
            weights[rank] = weights[rank] * routing.weights_scale
