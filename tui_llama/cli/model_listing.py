"""Writes the output of `tui-llama models`: the files here, the models to fetch, or everything about one file."""

import os
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tui_llama.chosen_sampling import choose_sampling, entry_of
from tui_llama.cli.model_choice import model_called
from tui_llama.cli.table import print_table
from tui_llama.engine.descriptions import ModelFacts
from tui_llama.engine.model.facts import read_model_facts
from tui_llama.files.model_parts import known_by, without_part
from tui_llama.models.described import DescribedModel, OfferedModel, context_words, describe
from tui_llama.models.downloads import size_words
from tui_llama.models.library import FoundModel, find_models, model_bytes
from tui_llama.models.machine import Machine, measured_machine
from tui_llama.models.names import short_name
from tui_llama.models.record import was_pulled
from tui_llama.output import Output
from tui_llama.paths import typed_file
from tui_llama.sampling.chain import chain_words
from tui_llama.settings import Settings
from tui_llama.text_safety import sanitize_line

_NAMED_BY_HAND: Final = "a path that you gave"
_LABEL_WIDTH: Final = 13


def describe_found(settings: Settings, machine: Machine) -> list[DescribedModel]:
    """Returns every model file on this machine, with what its header says."""
    return [describe(found, read_model_facts(found.path), machine, settings) for found in find_models()]


def choose_found(name: str) -> FoundModel:
    """Returns the model file that a path names, or as `model_choice.model_called` says.

    Raises:
        UserError: there is none, or there are several.
    """
    path = typed_file(name)
    if path is None:
        return model_called(name)
    path = known_by(path)
    resolved = os.path.realpath(path)
    same = (found for found in find_models() if os.path.realpath(found.path) == resolved)
    return next(same, FoundModel(path, without_part(path.stem), model_bytes(path) or 0, _NAMED_BY_HAND))


def print_lists(
    output: Output, found: Sequence[DescribedModel], offered: Sequence[OfferedModel], *, as_json: bool
) -> None:
    """Prints both lists as tables, or a line of JSON for each model."""
    if as_json:
        for each in (*map(_found_as_data, found), *map(_offer_as_data, offered)):
            output.result(msgspec.json.encode(each).decode() + "\n")
        return
    print_table(output, [_found_cells(model) for model in found])
    if offered:
        output.result(("\n" if found else "") + "Available with tui-llama pull NAME:\n")
        print_table(output, [_offer_cells(model) for model in offered])


def print_model(output: Output, settings: Settings, found: FoundModel) -> None:
    """Prints all that there is to say of one model file."""
    facts = read_model_facts(found.path)
    model = describe(found, facts, measured_machine(), settings)
    entry = entry_of(facts)
    rows = [
        ("name", model.title),
        ("path", str(found.path)),
        ("from", f"{found.origin}, fetched by this program" if was_pulled(found.path) else found.origin),
        ("size", size_words(found.size_bytes)),
        ("type", facts.quantization),
        ("architecture", facts.architecture),
        ("parameters", f"{facts.parameter_count:,}" if facts.parameter_count else ""),
        ("context", f"{facts.trained_context_size:,} tokens" if facts.trained_context_size else ""),
        ("licence", facts.licence or (entry.licence if entry is not None else "not given in the file")),
        ("template", facts.template_source),
        ("catalogue", f"{entry.name}: {entry.good_for}" if entry is not None else ""),
        ("memory", _memory_words(model)),
        ("speed", model.fit.speed_words if model.fit is not None else ""),
        ("cannot run", facts.refusal),
    ]
    for label, value in rows:
        if value:
            output.result(f"{label:<{_LABEL_WIDTH}}{sanitize_line(value)}\n")
    if facts.refusal:
        return
    for number, line in enumerate(_sampling_values(settings, facts)):
        output.result(f"{'' if number else 'sampling':<{_LABEL_WIDTH}}{line}\n")


def sampling_lines(settings: Settings, path: str) -> list[str]:
    """Says how tokens are chosen with a model, and where each value comes from; the first line is empty."""
    facts = read_model_facts(path)
    name = sanitize_line(short_name(path, facts.name))
    return ["", f"Sampling with {name}. Values come from you, else the model file, the catalogue or the program.",
            *_sampling_values(settings, facts)]  # fmt: skip


def _sampling_values(settings: Settings, facts: ModelFacts) -> list[str]:
    chosen = choose_sampling(settings, facts)
    values = {name: getattr(chosen.sampling, name) for name in chosen.sources}
    shown = {name: "a new one each time" if value is None else str(value) or "none" for name, value in values.items()}
    lines = [f"{name} = {sanitize_line(shown[name])} ({source})" for name, source in chosen.sources.items()]
    return [*lines, f"samplers at work: {chain_words(chosen.sampling)}"]


def _memory_words(model: DescribedModel) -> str:
    if model.fit is None:
        return ""
    free_bytes = model.fit.free_bytes
    needed = size_words(model.fit.needed_bytes - model.fit.lacking_bytes)
    return model.fit.refusal or (f"{needed} of {size_words(free_bytes)} free" if free_bytes else needed)


def _found_cells(model: DescribedModel) -> tuple[str, ...]:
    facts = model.facts
    assert facts is not None  # the command line has looked into every file
    note = model.refusal or (model.fit.speed_words if model.fit is not None else "")
    context = context_words(facts.trained_context_size)
    size = size_words(model.found.size_bytes)
    return (model.found.name, size, facts.quantization, facts.architecture, context, model.found.origin, note)


def _offer_cells(model: OfferedModel) -> tuple[str, ...]:
    entry = model.entry
    note = model.fit.refusal or model.fit.speed_words
    context = context_words(entry.context_size)
    return (entry.name, size_words(entry.size_bytes), entry.quantization, context, entry.licence, note, entry.good_for)


def _found_as_data(model: DescribedModel) -> dict[str, Any]:
    facts = model.facts
    assert facts is not None
    return {
        "where": model.found.origin,
        "title": model.title,
        "was_pulled": was_pulled(model.found.path),
        "refusal": model.refusal,
        "tokens_per_second": round(model.fit.tokens_per_second, 2) if model.fit is not None else None,
        **msgspec.structs.asdict(facts),
    }


def _offer_as_data(model: OfferedModel) -> dict[str, Any]:
    return {
        "where": "catalogue",
        "refusal": model.fit.refusal,
        "tokens_per_second": round(model.fit.tokens_per_second, 2),
        **msgspec.structs.asdict(model.entry),
    }
