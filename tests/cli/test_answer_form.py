"""Grammars and JSON schemas on the command line: where they come from, what is asked, and what is said at the end."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.fakes.fake_model import FakeModel, Rule, answering, any_letter
from tui_llama.cli.answer_form import answer_form
from tui_llama.cli.main import command_line
from tui_llama.errors import UserError

SCHEMA = '{"enum": ["yes", "no"]}'
GRAMMAR = 'root ::= "yes" | "no"'


def run(monkeypatch: pytest.MonkeyPatch, rule: Rule, *arguments: str) -> Result:
    monkeypatch.setattr("tui_llama.engine.local._open_our_model", lambda request, on_progress: FakeModel(rule))
    return CliRunner().invoke(command_line, [*arguments, "-m", "model.gguf", "--temp", "0"])


@pytest.mark.parametrize("command", ["ask", "complete"])
@pytest.mark.parametrize(
    ("options", "answer"),
    [
        (("-j", SCHEMA), '"no"'),
        (("--json-schema", "schema.json"), '"no"'),
        (("--grammar", GRAMMAR), "no"),
        (("--grammar-file", "rules.gbnf"), "no"),
    ],
)
def test_the_answer_is_what_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, options: tuple[str, ...], answer: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("schema.json").write_text(SCHEMA)
    Path("rules.gbnf").write_text(GRAMMAR)
    result = run(monkeypatch, answering(answer), command, "is it:", *options)
    assert (result.exit_code, result.stdout, result.stderr) == (0, answer, "")


def test_a_note_says_that_an_answer_ended_before_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = run(monkeypatch, any_letter, "ask", "x", "-n", "3", "-j", '{"type": "object", "required": ["aa"]}')
    assert (cut.exit_code, cut.stderr.splitlines()[0]) == (0, "note: the JSON is not complete")
    other = run(monkeypatch, any_letter, "complete", "x", "-n", "3", "--grammar", 'root ::= "long enough"')
    assert other.stderr.splitlines()[0] == "note: the answer does not fit its grammar yet"
    whole = run(monkeypatch, any_letter, "ask", "x", "-j", '{"const": {"a": [1]}}')
    assert (json.loads(whole.stdout), whole.stderr) == ({"a": [1]}, "")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-j", '{"type": }'), "line 1, column 10"),
        (("-j", "missing.json"), "missing.json"),
        (("--grammar", "root ::= (x"), "line 1, column 10"),
        (("--grammar-file", "missing.gbnf"), "missing.gbnf"),
    ],
)
def test_what_is_wrong_is_told_before_a_model_is_loaded(options: tuple[str, ...], words: str) -> None:
    result = CliRunner().invoke(command_line, ["ask", "x", "-m", "no model.gguf", *options])
    assert result.exit_code == 1
    assert words in result.stderr
    assert "no model" not in result.stderr


def test_only_one_thing_binds_an_answer() -> None:
    result = CliRunner().invoke(command_line, ["ask", "x", "-j", "{}", "--grammar", GRAMMAR])
    assert result.exit_code == 2
    assert "one of --json-schema, --grammar and --grammar-file" in result.stderr


def test_tokens_in_a_grammar_are_left_to_the_model() -> None:
    grammar = 'root ::= <think> "a"'
    assert answer_form({"grammar": grammar}) == {"grammar": grammar}
    assert answer_form({}) == {}
    with pytest.raises(UserError):
        answer_form({"grammar": "root ::=" + "<>"})
