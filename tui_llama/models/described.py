"""Models as lists show them: one line for each, with what it takes here and why it cannot be used if so.

The command line and the screen put the same facts together in the same way. Nothing here reads a file.
"""

from collections.abc import Iterable

import msgspec

from tui_llama.engine.descriptions import ModelFacts
from tui_llama.models.catalogue import CatalogueEntry, entry_for_file, load_catalogue
from tui_llama.models.downloads import size_words
from tui_llama.models.fitness import Fit, judge
from tui_llama.models.library import OLLAMA, FoundModel
from tui_llama.models.machine import Machine
from tui_llama.models.names import short_name
from tui_llama.settings import Settings


class DescribedModel(msgspec.Struct, frozen=True):
    """A model file on this machine. Texts come from files and are not safe to print as they are.

    Attributes:
        found: Where it is.
        title: Its name.
        facts: The facts in its header; None until it was read.
        fit: How it goes together with this machine; None as long, or where the engine cannot run it.
    """

    found: FoundModel
    title: str
    facts: ModelFacts | None = None
    fit: Fit | None = None

    @property
    def refusal(self) -> str:
        """The reason why the model cannot be used here, in few words; empty if it can."""
        if self.facts is not None and self.facts.refusal:
            return refusal_words(self.facts)
        return self.fit.refusal if self.fit is not None else ""

    @property
    def can_run(self) -> bool:
        """True if the engine can run it, as far as is known, memory aside."""
        return self.facts is None or not self.facts.refusal


class OfferedModel(msgspec.Struct, frozen=True):
    """A model of the catalogue that is not on this machine yet."""

    entry: CatalogueEntry
    fit: Fit


def describe(found: FoundModel, facts: ModelFacts | None, machine: Machine, settings: Settings) -> DescribedModel:
    """Combines the known facts about a model file."""
    title = found.name if found.origin == OLLAMA else short_name(found.path, facts.name if facts is not None else "")
    if facts is None or facts.refusal:
        return DescribedModel(found, title, facts)
    fit = judge(facts, machine, context_size=settings.context_size, cache_type=settings.cache_type)
    return DescribedModel(found, title, facts, fit)


def offers(found: Iterable[DescribedModel], machine: Machine, settings: Settings) -> list[OfferedModel]:
    """Returns the models of the catalogue of which no file is here that can run, in the catalogue's order."""
    here = {
        entry.name
        for model in found
        if model.can_run
        and (entry := entry_for_file(model.found.name, model.facts.name if model.facts is not None else "")) is not None
    }
    return [
        OfferedModel(entry, judge(entry, machine, context_size=settings.context_size, cache_type=settings.cache_type))
        for entry in load_catalogue()
        if entry.name not in here
    ]


def refusal_words(facts: ModelFacts) -> str:
    """Returns why the engine cannot run a model, in few words, without the name of the file."""
    return facts.refusal.removeprefix(f"{facts.path.rpartition('/')[2]}: ")


def context_words(tokens: int) -> str:
    """Returns a context as lists show it, such as "8k" or "131k"; empty if unknown."""
    return f"{tokens // 1000}k" if tokens >= 1000 else str(tokens or "")


def size_and_type(size_bytes: int, quantization: str) -> str:
    """Returns size and type in words, such as "2.5 GB Q4_K_M"."""
    return f"{size_words(size_bytes)} {quantization}".rstrip()
