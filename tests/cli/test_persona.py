"""`--persona` and `--start-reply`: what a command without a screen asks the engine."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tui_llama.chat import Thinking
from tui_llama.cli import headless
from tui_llama.cli.main import command_line
from tui_llama.cli.persona import options_with, options_with_default, settings_with
from tui_llama.cli.reply_output import StartOfReply
from tui_llama.engine.events import Notice, TextPiece
from tui_llama.engine.requests import ReplyRequest
from tui_llama.personas.folder import save_persona
from tui_llama.personas.persona import Persona
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.settings import Settings

PIRATE = Persona(
    "pirate", system_prompt="Arr.", sampling={"top_k": 3, "min_p": 0.2}, model="small", thinking=Thinking.OFF,
    reply_start="Ahoy",
)  # fmt: skip


def test_the_command_line_counts_before_the_persona() -> None:
    given: dict[str, object] = {"top_k": 9, "system_prompt": "Mine.", "model": "big"}
    settings = Settings(sampling=SamplingSettings(top_k=9), system_prompt="Mine.", given=frozenset({"sampling.top_k"}))
    made = settings_with(PIRATE, settings, given)
    assert (made.sampling.top_k, made.sampling.min_p, made.system_prompt) == (9, 0.2, "Mine.")
    assert made.given == {"sampling.top_k", "sampling.min_p"}
    assert options_with(PIRATE, given)["model"] == "big"
    assert options_with(PIRATE, {})["model"] == "small"
    assert "model" not in options_with(PIRATE, {"server": "x"})
    assert settings_with(PIRATE, Settings(), {}).system_prompt == "Arr."


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Result, list[dict[str, Any]]]:
    asked: list[dict[str, Any]] = []

    def ask(model: str, settings: Settings, question: str, stop_texts: tuple[str, ...], **others: Any) -> None:
        asked.append({"model": model, "settings": settings, "question": question, **others})

    monkeypatch.setattr(headless, "ask", ask)
    return CliRunner().invoke(command_line, arguments), asked


def test_ask_takes_a_persona(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = tmp_path / "m.gguf"
    model.write_bytes(b"")
    save_persona(PIRATE)
    arguments = ["ask", "-m", str(model), "--persona", "Pirate", "--top-k", "9", "hello"]
    _result, asked = run(arguments, monkeypatch, tmp_path)
    assert len(asked) == 1
    assert (asked[0]["reply_start"], asked[0]["persona"], asked[0]["model"]) == ("Ahoy", PIRATE, str(model))
    assert asked[0]["settings"].sampling.top_k == 9
    assert asked[0]["settings"].system_prompt == "Arr."


def test_the_start_of_the_reply_can_be_given_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = tmp_path / "m.gguf"
    model.write_bytes(b"")
    _result, asked = run(["ask", "-m", str(model), "--start-reply", "Sure", "hi"], monkeypatch, tmp_path)
    assert (asked[0]["reply_start"], asked[0]["persona"]) == ("Sure", None)


def test_a_persona_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result, asked = run(["ask", "-m", "x.gguf", "--persona", "nobody", "hi"], monkeypatch, tmp_path)
    assert (asked, result.exit_code) == ([], 1)
    assert "no persona nobody" in result.output


class Lines:
    def __init__(self) -> None:
        self.text = ""

    def result(self, text: str) -> None:
        self.text += text


def test_the_start_is_printed_once_before_the_answer() -> None:
    output = Lines()
    start = StartOfReply(ReplyRequest(1, (), reply_start="Sure"), output)  # type: ignore[arg-type]
    for event in (Notice("x"), TextPiece(1, ",", ()), TextPiece(1, " yes", ())):
        start.print_before(event)
        output.result(event.text if isinstance(event, TextPiece) else "")
    assert output.text == "Sure, yes"


@pytest.mark.parametrize(("option", "thinking"), [((), "off"), (("--think",), "on"), (("--no-think",), "off")])
def test_whether_to_think_is_said_on_the_command_line_before_the_persona(
    option: tuple[str, ...], thinking: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    save_persona(PIRATE)
    arguments = ["ask", "hi", "-m", "small.gguf", "--persona", "pirate", "--hide-think", *option]
    _result, asked = run(arguments, monkeypatch, tmp_path)
    persona, settings = asked[0]["persona"], asked[0]["settings"]
    assert (persona.thinking or settings.thinking) == thinking
    assert not asked[0]["shows_thoughts"]


def test_the_model_of_the_default_persona_is_taken_where_it_is_there(tmp_path: Path) -> None:
    model = tmp_path / "small.gguf"
    persona = Persona("Deep", model=str(model))
    assert options_with_default(persona, {}) == ({}, f"The model of Deep is not on this machine: {model}.")
    model.write_bytes(b"")
    assert options_with_default(persona, {"threads": 2}) == ({"threads": 2, "model": str(model)}, "")
    assert options_with_default(persona, {"model": "other"}) == ({"model": "other"}, "")
    assert options_with_default(Persona("Any"), {}) == ({}, "")
    missing = options_with_default(Persona("Deep", model="nobody's model"), {})
    assert missing == ({}, "The model of Deep is not on this machine: nobody's model.")
