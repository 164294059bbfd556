"""Writes the output of `tui-llama inspect`: as a page of sections, or as JSON."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tui_llama.bench.step_times import ANSWER_TOKENS, PROMPT_TOKENS, StepTime
from tui_llama.cli.table import print_table
from tui_llama.engine.descriptions import ModelFacts
from tui_llama.engine.machine.free_memory import OVERHEAD_BYTES
from tui_llama.engine.model.inspection import Inspection, Vocabulary
from tui_llama.engine.requests import DEFAULT_CONTEXT_SIZE
from tui_llama.models.downloads import size_words
from tui_llama.models.fitness import cache_bytes
from tui_llama.models.library import FoundModel
from tui_llama.models.names import short_name
from tui_llama.output import Output
from tui_llama.text_safety import sanitize_line

_USUAL_CONTEXTS: Final = (4096, 32768, 131072)
_MOST_NAMED: Final = 20
_INDENT: Final = "  "


class MemoryNeed(msgspec.Struct, frozen=True):
    """The memory that a model takes with a full context, in bytes.

    Attributes:
        context_size: Tokens of the context.
        weights: The weights.
        keys_and_values_f16: Keys and values as float16.
        keys_and_values_q8_0: Keys and values with `cache_type = "q8_0"`.
        all_f16: Everything, with keys and values as float16 and what the program itself takes.
        without_experts: All of this without the weights of experts, which stay in the file where they do not fit.
    """

    context_size: int
    weights: int
    keys_and_values_f16: int
    keys_and_values_q8_0: int
    all_f16: int
    without_experts: int


def contexts(facts: ModelFacts, context_size: int) -> list[MemoryNeed]:
    """Returns the memory at several contexts up to that of the training; nothing of a model that cannot run.

    Args:
        facts: The model.
        context_size: One more context, as set by the user; 0 for none.
    """
    trained = facts.trained_context_size
    if not trained:
        return []
    wanted = {min(trained, DEFAULT_CONTEXT_SIZE), trained, context_size or trained}
    wanted |= {size for size in _USUAL_CONTEXTS if size < trained}
    return [_memory_need(facts, size) for size in sorted(wanted)]


def _memory_need(facts: ModelFacts, context_size: int) -> MemoryNeed:
    f16, q8_0 = (cache_bytes(facts, context_size, kind) for kind in ("f16", "q8_0"))
    in_all = facts.weight_bytes + f16 + OVERHEAD_BYTES
    return MemoryNeed(context_size, facts.weight_bytes, f16, q8_0, in_all, in_all - facts.expert_bytes)


def print_json(
    output: Output,
    found: FoundModel,
    inspection: Inspection,
    memory: Sequence[MemoryNeed],
    times: Sequence[StepTime],
) -> None:
    """Prints everything as one JSON object."""
    data: dict[str, Any] = {
        "title": short_name(found.path, inspection.facts.name),
        "where": found.origin,
        **msgspec.structs.asdict(inspection),
        "memory": memory,
        "step_times": times,
    }
    output.result(msgspec.json.format(msgspec.json.encode(data), indent=2).decode() + "\n")


def print_inspection(
    output: Output,
    found: FoundModel,
    inspection: Inspection,
    memory: Sequence[MemoryNeed],
    times: Sequence[StepTime],
) -> None:
    """Prints everything as a page of sections."""
    _print_rows(output, "", _head(found, inspection))
    _print_rows(output, "Sizes", list(inspection.sizes.items()))
    _print_rows(output, "Weights by type", _types(inspection))
    _print_rows(output, "Special tokens", _special_tokens(inspection))
    if not inspection.facts.refusal:
        unused = (("tensors", inspection.unused_tensors), ("keys", inspection.unused_keys))
        _print_rows(output, "Not used", [(what, _named(names)) for what, names in unused])
    _print_rows(output, "Memory", _memory(memory))
    _print_rows(output, "Notices", [(notice,) for notice in inspection.notices])
    if inspection.plan:
        output.result("\nPlan\n")
        for line in inspection.plan:
            output.result(f"{_INDENT}{sanitize_line(line)}\n")
    title = f"Time per token: a prompt of {PROMPT_TOKENS} tokens, then {ANSWER_TOKENS} tokens written"
    _print_rows(output, title, _step_times(times))


def _print_rows(output: Output, title: str, rows: Sequence[tuple[str, ...]]) -> None:
    """Prints a title and a table below it; nothing where there are no rows."""
    if not rows:
        return
    if title:
        output.result(f"\n{title}\n")
        rows = [(_INDENT + row[0], *row[1:]) for row in rows]
    print_table(output, rows)


def _head(found: FoundModel, inspection: Inspection) -> list[tuple[str, str]]:
    facts, parts = inspection.facts, inspection.part_count
    size = size_words(facts.file_bytes) + (f" in {parts} files" if parts > 1 else "")
    template = inspection.template
    rows = [
        ("name", short_name(found.path, facts.name)),
        ("path", str(found.path)),
        ("from", found.origin),
        ("size", f"{size}, GGUF version {inspection.version}"),
        ("architecture", facts.architecture or "not given in the file"),
        ("cannot run", facts.refusal),
        ("parameters", f"{facts.parameter_count:,}"),
        ("layers", str(facts.layer_count or "")),
        ("licence", facts.licence),
        ("vocabulary", _vocabulary_words(inspection.vocabulary)),
        ("template", _template_words(template.source, template.character_count, template.thinking)),
        ("sampling", ", ".join(f"{name} = {value}" for name, value in facts.sampling.items())),
    ]
    return [row for row in rows if row[1]]


def _vocabulary_words(vocabulary: Vocabulary) -> str:
    if not vocabulary.token_count:
        return "none in the file"
    kind = f"{vocabulary.kind or 'of no kind'}{f' ({vocabulary.splitting})' if vocabulary.splitting else ''}"
    added = [name for name, is_added in (("bos", vocabulary.adds_bos), ("eos", vocabulary.adds_eos)) if is_added]
    words = f"{kind}, {vocabulary.token_count:,} tokens"
    if vocabulary.refusal:
        return f"{words}; {vocabulary.refusal}"
    return f"{words}; adds {' and '.join(added)}" if added else words


def _template_words(source: str, character_count: int, thinking: Sequence[str]) -> str:
    words = f"{source}, {character_count:,} characters" if character_count else source
    return f"{words}; thinking: {', '.join(thinking)}" if thinking else words


def _types(inspection: Inspection) -> list[tuple[str, ...]]:
    total = sum(each.size_bytes for each in inspection.types)
    rows = [
        (
            each.name,
            f"{each.tensor_count} tensor{'' if each.tensor_count == 1 else 's'}",
            f"{each.parameter_count:,}",
            size_words(each.size_bytes),
            f"{100 * each.size_bytes / total:.1f} %" if total else "",
            "" if each.has_kernels else "no kernel reads it",
        )
        for each in inspection.types
    ]
    return [("type", "tensors", "parameters", "bytes", "share", ""), *rows] if rows else []


def _special_tokens(inspection: Inspection) -> list[tuple[str, ...]]:
    return [
        (token.purpose or "by its text", str(token.token_id), token.text, "ends an answer" if token.ends_answer else "")
        for token in inspection.special_tokens
    ]


def _memory(memory: Sequence[MemoryNeed]) -> list[tuple[str, ...]]:
    if not memory:
        return []
    head = ("context", "weights", "keys and values", "as q8_0", "in all", "with experts in the file")
    rows = [
        (
            f"{need.context_size:,}",
            size_words(need.weights),
            size_words(need.keys_and_values_f16),
            size_words(need.keys_and_values_q8_0),
            size_words(need.all_f16),
            size_words(need.without_experts),
        )
        for need in memory
    ]
    has_experts = any(need.without_experts < need.all_f16 for need in memory)
    return [row if has_experts else row[:-1] for row in (head, *rows)]


def _step_times(times: Sequence[StepTime]) -> list[tuple[str, ...]]:
    if not times:
        return []
    rows = [
        (
            step.operation,
            step.detail,
            f"{1e3 * step.reading_seconds:.4f}",
            f"{1e3 * step.writing_seconds:.4f}",
            f"{step.weight_bytes / step.writing_seconds / 1e9:.1f}"
            if step.weight_bytes and step.writing_seconds
            else "",
        )
        for step in times
    ]
    reading = 1e3 * sum(step.reading_seconds for step in times)
    writing = 1e3 * sum(step.writing_seconds for step in times)
    total = ("all", "", f"{reading:.4f}", f"{writing:.4f}", "")
    return [("operation", "on", "ms reading", "ms writing", "GB/s writing"), *rows, total]


def _named(names: Sequence[str]) -> str:
    """Returns the first names, and how many more there are."""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more if names else "none"
