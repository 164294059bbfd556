"""Every architecture chats with the templates and vocabularies of its families, and ends where they end."""

from pathlib import Path

import pytest

from tests.engine.templates.family_chats import chat_with, chats_of
from tests.engine.tokenizer.families import FAMILIES
from tui_llama.engine.plan.architectures import ARCHITECTURES


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_templates_are_split_at_their_marks_and_answers_end_with_their_ends(tmp_path: Path, architecture: str) -> None:
    for name, family, template in chats_of(architecture):
        chat = chat_with(tmp_path / "model.gguf", architecture, family, template)
        assert chat.source == ("model file" if template else "plain"), name
        assert chat.marks == chat.written_marks, (name, template)
        assert bool(template) <= bool(chat.marks), (name, template)
        assert chat.is_lossless, (name, template)
        assert chat.ends == family.ends, (name, template)
        assert chat.goes_on >= {*family.special} - family.ends, (name, template)


def test_families_name_architectures_that_are_declared() -> None:
    assert {each for family in FAMILIES.values() for each in family.architectures} <= ARCHITECTURES.keys()
