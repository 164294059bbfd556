"""Examines the models on this machine: where they come from, what they are, and whether they can run here."""

from collections.abc import Sequence
from typing import Final

from tui_llama.doctor.report import Problem, Row, Section
from tui_llama.engine.descriptions import ModelFacts
from tui_llama.models.downloads import duration_words, size_words
from tui_llama.models.fitness import judge
from tui_llama.models.library import OUR_FOLDER, FoundModel, UnfinishedDownload
from tui_llama.models.machine import Machine
from tui_llama.settings import Settings

TITLE: Final = "Models"
GET_ONE: Final = "tui-llama pull starter"

_UNDER_WAY_SECONDS: Final = 600.0  # a newer file may belong to a download that is under way
_DAY_SECONDS: Final = 86_400.0
_MOST_LOOKED_INTO: Final = 100  # reading a header takes milliseconds, or a tenth of a second with a large vocabulary


def look_at_models(settings: Settings) -> Section:
    """Returns the section of the models. Reads the headers of the first hundred."""
    from time import time

    from tui_llama.models.library import find_models, find_unfinished
    from tui_llama.models.machine import this_machine

    found = find_models()
    facts = [_facts(model) for model in found[:_MOST_LOOKED_INTO]]
    section = models_section(found, facts, this_machine(), settings)
    rows, problems = unfinished_downloads(find_unfinished(), time())
    return Section(TITLE, (*section.rows, *rows), (*section.problems, *problems))


def models_section(
    found: Sequence[FoundModel], facts: Sequence[ModelFacts], machine: Machine, settings: Settings
) -> Section:
    """Returns the section of the models.

    Args:
        found: The models.
        facts: The facts of the first models, as many as were examined.
        machine: The machine on which they would run.
        settings: The settings with which they would be opened.
    """
    verdicts = [_verdict(each, machine, settings) for each in facts]
    rows = [_row(model, each, verdict) for model, each, verdict in zip(found, facts, verdicts, strict=False)]
    if len(found) > len(facts):
        rows.append(Row("more", f"{len(found) - len(facts)} that were not examined"))
    can_run = [each for each in facts if not each.refusal]
    problems = [
        Problem(f"{model.name} in the models folder cannot be read as a model.", "Fetch it again, or remove it.")
        for model, each in zip(found, facts, strict=False)
        if model.origin == OUR_FOLDER and each.refusal and not each.architecture
    ]
    if not found:
        rows.append(Row("found", "none", 0))
        problems.append(Problem("There is no model on this machine.", GET_ONE))
    elif not can_run:
        problems.append(Problem("None of the models on this machine can run.", GET_ONE))
    elif not any(_fits(each, machine, settings) for each in can_run):
        text = "None of the models that can run fits into the free memory."
        # Only advice, because a running chat with one of them may be what takes the memory.
        remedy = f"Close other programs, set a smaller context_size, or get a model: {GET_ONE}"
        problems.append(Problem(text, remedy, is_advice=True))
    return Section(TITLE, tuple(rows), tuple(problems))


def unfinished_downloads(
    unfinished: Sequence[UnfinishedDownload], now_seconds: float
) -> tuple[list[Row], list[Problem]]:
    """Returns rows and advice about unfinished downloads, which no list of models shows.

    Args:
        unfinished: The unfinished downloads.
        now_seconds: The time in seconds since 1970.
    """
    rows: list[Row] = []
    problems: list[Problem] = []
    for each in unfinished:
        age_seconds = max(0.0, now_seconds - each.modified_seconds)
        text = f"{size_words(each.size_bytes)} of {each.repository}, {_age_words(age_seconds)} old"
        rows.append(Row("unfinished", f"{text}, {each.path}", each.size_bytes))
        if age_seconds >= _UNDER_WAY_SECONDS:
            remedy = (
                f"To finish it, repeat its tui-llama pull (hf:{each.repository}). To discard it, remove {each.path}"
            )
            problems.append(Problem(f"A download was not finished: {text}.", remedy, is_advice=True))
    return rows, problems


def _age_words(seconds: float) -> str:
    days = round(seconds / _DAY_SECONDS)
    return f"{days} days" if days > 1 else duration_words(seconds)


def _row(model: FoundModel, facts: ModelFacts, verdict: str) -> Row:
    parts = (model.origin, facts.architecture, facts.quantization, size_words(model.size_bytes), verdict)
    return Row(model.name, ", ".join(part for part in parts if part))


def _verdict(facts: ModelFacts, machine: Machine, settings: Settings) -> str:
    if facts.refusal:
        return f"cannot run: {facts.refusal.replace(facts.path, 'the file')}"
    fit = judge(facts, machine, context_size=settings.context_size, cache_type=settings.cache_type)
    if not fit.fits:
        return f"does not fit: {fit.refusal}"
    return f"can run, {fit.speed_words}" if fit.speed_words else "can run"


def _fits(facts: ModelFacts, machine: Machine, settings: Settings) -> bool:
    return judge(facts, machine, context_size=settings.context_size, cache_type=settings.cache_type).fits


def _facts(model: FoundModel) -> ModelFacts:
    from tui_llama.engine.model.facts import read_model_facts

    try:
        return read_model_facts(model.path)
    except Exception as error:  # no file, in whatever folder, may keep the page from being made
        return ModelFacts(str(model.path), refusal=f"{type(error).__name__}: {error}")
