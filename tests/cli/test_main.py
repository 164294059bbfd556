"""The command line as a shell and its user see it: results, messages, exit statuses."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from tests.fakes.fake_model import FakeModel, Rule, answering
from tests.fakes.headless_program import ROOT, start
from tests.fakes.text_terminal import FakeTerminal
from tests.fakes.tiny_model import make_tiny_model
from tui_llama import __version__, paths
from tui_llama.chat import ChatMessage, Role
from tui_llama.chats.store import Store
from tui_llama.chosen_sampling import choose_sampling
from tui_llama.cli import headless, main
from tui_llama.cli.command_settings import settings_from
from tui_llama.cli.main import command_line
from tui_llama.engine import open_tokenizer
from tui_llama.engine.requests import (
    DEFAULT_DRAFT_MAX,
    CompleteRequest,
    LoadRequest,
    Overflow,
    OverflowMode,
    ReplyRequest,
)
from tui_llama.engine.templates.chat_template import ChatTemplate
from tui_llama.errors import UserError
from tui_llama.output import Output
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.sampling.texts import read_samplers
from tui_llama.settings import Settings
from tui_llama.system.terminals import is_plain

MODEL = ("-m", "model.gguf")

UseModel = Callable[[Rule], FakeModel]
Asked = list[tuple[LoadRequest, ReplyRequest | CompleteRequest]]


@pytest.fixture
def use_model(monkeypatch: pytest.MonkeyPatch) -> UseModel:
    """Lets every model file be a fake one."""

    def use(rule: Rule) -> FakeModel:
        model = FakeModel(rule)
        monkeypatch.setattr("tui_llama.engine.local._open_our_model", lambda request, on_progress: model)
        return model

    return use


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What the engine would have been asked, without one."""
    requests: Asked = []

    def run(load: LoadRequest, settings: Settings, request: ReplyRequest | CompleteRequest, **_: bool) -> None:
        sampling = choose_sampling(settings, None).sampling
        requests.append((load, msgspec.structs.replace(request, sampling=sampling)))

    monkeypatch.setattr(headless, "_run", run)
    return requests


def run(*arguments: str, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(command_line, arguments, input=stdin)


def reply_request(asked: Asked) -> ReplyRequest:
    request = asked[0][1]
    assert isinstance(request, ReplyRequest)
    return request


# --- results and messages


def test_complete_prints_the_continuation_alone(use_model: UseModel) -> None:
    use_model(answering(" was a llama"))
    result = run("complete", "there:", *MODEL, "--temp", "0")
    assert (result.exit_code, result.stdout, result.stderr) == (0, " was a llama", "")


def test_ask_answers_through_the_chat_template(use_model: UseModel) -> None:
    model = use_model(answering("yes"))
    result = run("ask", "is", "it?", *MODEL, "--temp", "0")
    assert (result.exit_code, result.stdout) == (0, "yes")
    assert model.closed


def test_an_answer_in_a_pipe_is_what_the_model_wrote(use_model: UseModel) -> None:
    flag = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
    answer = f"a\x1b[31mb\x07c \u200fשלום\u2066 \ufeff{flag}\n"
    use_model(answering(answer))
    assert run("complete", "x:", *MODEL, "--temp", "0").stdout == answer


@pytest.mark.parametrize(
    ("source", "fallback_is_told"),
    [
        ("{{ functions + '' }}{{ messages[0].content }}:", False),
        ("{{ messages[0].content[0].text }}:", False),
        ("{{ messages[0].content }}:{{ raise_exception('only with tools') }}", True),
    ],
)
def test_ask_answers_whatever_the_template_asks_for(source: str, fallback_is_told: bool, use_model: UseModel) -> None:
    model = use_model(answering("yes"))
    model.chat_template = ChatTemplate(source, "test", fallback=ChatTemplate("{{ messages[0].content }}:", "plain"))
    result = run("ask", "is it", *MODEL, "--temp", "0", "--system", "Be brief.")
    assert (result.exit_code, result.stdout) == (0, "yes")
    assert ("only with tools; the plain template is used instead" in result.stderr) == fallback_is_told


def test_a_failure_is_told_with_a_hint_on_standard_error() -> None:
    result = run("complete", "x", "-m", "missing.gguf")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    assert "missing.gguf" in result.stderr


def test_a_message_never_holds_what_the_terminal_would_obey() -> None:
    result = run("complete", "x", "-m", "\x1b[31mred.gguf")
    assert result.exit_code == 1
    assert "\x1b" not in result.stderr


def test_a_prompt_that_is_too_long_is_an_error_with_a_hint(use_model: UseModel) -> None:
    use_model(answering("yes"))
    result = run("complete", "x" * 1000, *MODEL)
    assert result.exit_code == 1
    assert "\nhint: " in result.stderr


def test_an_answer_cut_off_by_the_context_is_noted_on_standard_error(use_model: UseModel) -> None:
    use_model(lambda token_ids: ord("a"))
    result = run("complete", "x", *MODEL, "--temp", "0")
    assert (result.exit_code, result.stdout) == (0, "a" * 512)
    assert result.stderr.startswith("note: the context of 512 tokens is full")


def says_over_and_over(token_ids: Sequence[int]) -> int:
    return b"over and over "[len(token_ids) % 14]


@pytest.mark.parametrize("command", ["ask", "complete"])
def test_an_answer_in_a_loop_is_ended_with_the_option_that_lets_it_go_on(use_model: UseModel, command: str) -> None:
    use_model(says_over_and_over)
    result = run(command, "x", *MODEL, "--temp", "0")
    assert result.exit_code == 0
    assert len(result.stdout) == 12 * 14
    assert result.stderr.startswith(
        "note: the answer was ended because it repeats itself; --no-loop-guard turns this off"
    )
    assert len(run(command, "x", *MODEL, "--temp", "0", "--no-loop-guard").stdout) > 400


@pytest.mark.parametrize("command", ["ask", "complete"])
def test_answers_are_guarded_unless_that_is_off_or_they_may_not_end(asked: Asked, command: str) -> None:
    run(command, "x", *MODEL)
    run(command, "x", *MODEL, "--no-loop-guard")
    run("--no-loop-guard", command, "x", *MODEL)
    run(command, "x", *MODEL, "--ignore-eos")
    paths.settings_file().parent.mkdir(parents=True, exist_ok=True)
    paths.settings_file().write_text('loop_guard = "off"\n')
    run(command, "x", *MODEL)
    assert [request.loop_guard for _, request in asked] == [True, False, False, False, False]


# --- what is asked


def test_files_are_attached_to_the_question(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes("caf\u00e9\r\n".encode("latin-1"))
    (tmp_path / "log").write_text("```")

    run("ask", "-f", str(tmp_path / "notes.txt"), "--file", str(tmp_path / "log"), "What is this?", *MODEL)

    assert asked[0][1].messages[-1].text == (
        "notes.txt:\n```\ncaf\u00e9\n```\n\nlog:\n````\n```\n````\n\nWhat is this?"
    )


def test_a_file_that_is_no_text_is_refused(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(bytes(range(256)))

    result = run("ask", "-f", str(tmp_path / "picture"), "What is this?", *MODEL)

    assert (result.exit_code, asked) == (1, [])
    assert "picture is not a text." in result.stderr


def test_standard_input_is_put_below_the_question(asked: Asked) -> None:
    run("ask", "Sum", "up:", "-", *MODEL, stdin="a text\n")
    assert reply_request(asked).messages == (ChatMessage(Role.USER, "Sum up:\n\na text"),)


def test_standard_input_alone_is_a_question(asked: Asked) -> None:
    run("ask", *MODEL, stdin="a question\n")
    assert reply_request(asked).messages == (ChatMessage(Role.USER, "a question"),)


def test_a_system_prompt_comes_before_the_question(asked: Asked) -> None:
    run("ask", "-s", "Be brief.", "Why?", *MODEL)
    assert reply_request(asked).messages == (
        ChatMessage(Role.SYSTEM, "Be brief."),
        ChatMessage(Role.USER, "Why?"),
    )


def test_a_text_to_complete_can_come_from_standard_input_as_it_stands(asked: Asked) -> None:
    run("complete", "-", *MODEL, stdin="Once upon\n a time \n")
    request = asked[0][1]
    assert isinstance(request, CompleteRequest)
    assert request.text == "Once upon\n a time \n"


def test_options_reach_the_engine_under_the_names_of_llama_cpp(asked: Asked) -> None:
    run(
        *("complete", "x", *MODEL, "--ctx", "128", "-t", "3", "--batch", "7", "-n", "9", "-r", "a", "--stop", "b"),
        *("--seed", "5", "--temp", "0.5", "--top-k", "6", "--top-p", "0.7", "--min-p", "0.2"),
        *("--repeat-penalty", "1.1", "--frequency-penalty", "0.3", "--presence-penalty", "0.4"),
        *("--repeat-last-n", "32"),
    )
    load, request = asked[0]
    assert load == LoadRequest(str(Path("model.gguf").absolute()), 128, 3, 7)
    assert request.sampling == SamplingSettings(5, 0.5, 6, 0.7, 0.2, 1.1, 0.3, 0.4, 32)
    assert (request.max_tokens, request.stop_texts) == (9, ("a", "b"))


def test_every_sampler_has_the_options_of_llama_cpp(asked: Asked) -> None:
    run(
        *("ask", "x", *MODEL, "--typical", "0.9", "--top-nsigma", "1.5", "--xtc-probability", "0.5"),
        *("--xtc-threshold", "0.2", "--dynatemp-range", "0.3", "--dynatemp-exp", "2", "--dry-multiplier", "0.8"),
        *("--dry-base", "2", "--dry-allowed-length", "3", "--dry-penalty-last-n", "99", "--mirostat", "2"),
        *("--mirostat-ent", "4", "--mirostat-lr", "0.2", "--adaptive-target", "0.4", "--adaptive-decay", "0.5"),
        *("--dry-sequence-breaker", r"\n", "--dry-sequence-breaker", "END OF", "--samplers", "top_k;temp"),
        *("-l", "15043+1", "--logit-bias", '"no way"-2.5'),
    )
    sampling = asked[0][1].sampling
    assert sampling == SamplingSettings(
        typical_p=0.9,
        top_n_sigma=1.5,
        xtc_probability=0.5,
        xtc_threshold=0.2,
        dynatemp_range=0.3,
        dynatemp_exponent=2.0,
        dry_multiplier=0.8,
        dry_base=2.0,
        dry_allowed_length=3,
        dry_penalty_last_n=99,
        dry_sequence_breakers=r"\n END\sOF",
        mirostat=2,
        mirostat_tau=4.0,
        mirostat_eta=0.2,
        adaptive_target=0.4,
        adaptive_decay=0.5,
        samplers="top_k;temp",
        logit_bias='15043+1 "no way"-2.5',
    )


def test_samplers_are_named_by_letters_too(asked: Asked) -> None:
    run("complete", "x", *MODEL, "--sampling-seq", "kt")
    assert read_samplers(asked[0][1].sampling.samplers) == ("top_k", "temperature")


@pytest.mark.parametrize("command", ["ask", "complete"])
def test_the_samplers_at_work_are_printed_where_asked_for(use_model: UseModel, command: str) -> None:
    use_model(answering("Hi"))
    result = run(command, "x", *MODEL, "--print-samplers", "--temp", "0", "--dry-multiplier", "0.8")
    assert "Samplers: dry 0.8 base 1.75 allowed 2 last 64 → greedy" in result.stderr
    assert "Samplers" not in result.stdout


@pytest.mark.parametrize("command", ["ask", "complete"])
def test_the_most_guesses_can_be_set_and_are_the_default_otherwise(asked: Asked, command: str) -> None:
    run(command, "x", *MODEL, "--draft-max", "3")
    run(command, "x", *MODEL)
    assert [request.draft_max for _, request in asked] == [3, DEFAULT_DRAFT_MAX]


@pytest.mark.parametrize("command", ["ask", "complete"])
@pytest.mark.parametrize(
    ("options", "overflow"),
    [
        ((), Overflow()),
        (("--context-shift",), Overflow(OverflowMode.SHIFT)),
        (("--context-shift", "--keep", "-1"), Overflow(OverflowMode.SHIFT, -1)),
        (("--no-context-shift",), Overflow(OverflowMode.STOP)),
        (("--grp-attn-n", "8", "--grp-attn-w", "64"), Overflow(OverflowMode.EXTEND, 0, 8, 64)),
        (("-gan", "2", "-gaw", "64", "--context-shift"), Overflow(OverflowMode.EXTEND, 0, 2, 64)),
        (("--grp-attn-n", "1"), Overflow(group_size=1)),
    ],
)
def test_what_is_done_about_a_full_context_has_the_names_of_llama_cpp(
    asked: Asked, command: str, options: tuple[str, ...], overflow: Overflow
) -> None:
    run(command, "x", *MODEL, *options)
    run(*options, command, "x", *MODEL)
    assert [request.overflow for _, request in asked] == [overflow] * 2


def test_the_command_line_decides_about_a_full_context_before_the_settings(asked: Asked) -> None:
    file = paths.settings_file()
    file.parent.mkdir(parents=True)
    file.write_text('context_overflow = "shift"\nkeep_tokens = 4\n')
    run("complete", "x", *MODEL)
    run("complete", "x", *MODEL, "--no-context-shift")
    assert [request.overflow.mode for _, request in asked] == [OverflowMode.SHIFT, OverflowMode.STOP]
    assert asked[0][1].overflow.keep_tokens == 4


@pytest.mark.parametrize("option", [("--keep", "-2"), ("--grp-attn-n", "0"), ("--grp-attn-w", "0")])
def test_options_of_a_full_context_are_checked(asked: Asked, option: tuple[str, str]) -> None:
    assert run("complete", "x", *MODEL, *option).exit_code == 2
    assert not asked


@pytest.mark.parametrize("command", ["ask", "complete"])
def test_the_end_of_an_answer_is_ignored_when_told_to(asked: Asked, command: str) -> None:
    run(command, "x", *MODEL, "--ignore-eos")
    run(command, "x", *MODEL)
    assert [request.ignore_eos for _, request in asked] == [True, False]


def test_a_shifted_continuation_is_noted_on_standard_error(use_model: UseModel) -> None:
    use_model(lambda token_ids: ord("a"))
    result = run("complete", "x", *MODEL, "--temp", "0", "-n", "700", "--context-shift")
    assert (result.exit_code, result.stdout) == (0, "a" * 700)
    assert result.stderr.startswith("note: The context of 512 tokens is full")


def test_options_of_the_threads_have_the_names_of_llama_cpp_too(asked: Asked) -> None:
    run(
        *("complete", "x", *MODEL, "-t", "2", "-tb", "4", "-C", "0xf", "-Cr", "0-1", "--prio", "-1", "--poll", "0"),
        *("--numa", "isolate", "--cache-type", "f16"),
    )
    assert asked[0][0] == LoadRequest(
        *(str(Path("model.gguf").absolute()), 0, 2, 512), batch_threads=4, cpu_mask="0xf", cpu_range="0-1",
        priority=-1, poll=0, numa="isolate", cache_type="f16",
    )  # fmt: skip


@pytest.mark.parametrize("option", [("--prio", "4"), ("--poll", "101"), ("--numa", "mirror"), ("--cache-type", "q2_k")])
def test_options_of_the_threads_are_checked(asked: Asked, option: tuple[str, str]) -> None:
    assert run("complete", "x", *MODEL, *option).exit_code == 2
    assert not asked


def test_minus_one_is_no_limit_and_no_seed(asked: Asked) -> None:
    run("complete", "x", *MODEL, "-n", "-1", "--seed", "-1")
    assert asked[0][1].max_tokens is None
    assert asked[0][1].sampling.seed is None


def test_a_penalty_of_minus_one_is_a_penalty(asked: Asked) -> None:
    run("complete", "x", *MODEL, "--presence-penalty", "-1")
    assert asked[0][1].sampling.presence_penalty == -1.0


def test_options_before_the_command_hold_unless_it_has_its_own(asked: Asked) -> None:
    run(*MODEL, "--temp", "0.1", "--top-k", "3", "complete", "x", "--temp", "0.2")
    assert asked[0][0].model_path == str(Path("model.gguf").absolute())
    assert (asked[0][1].sampling.temperature, asked[0][1].sampling.top_k) == (0.2, 3)


def test_the_command_line_overrides_the_settings(asked: Asked) -> None:
    file = paths.settings_file()
    file.parent.mkdir(parents=True)
    file.write_text("context_size = 256\nthreads = 2\n")
    run("complete", "x", *MODEL, "-t", "1")
    assert (asked[0][0].context_size, asked[0][0].threads) == (256, 1)


def test_what_was_given_on_the_command_line_is_known_as_given() -> None:
    file = paths.settings_file()
    file.parent.mkdir(parents=True)
    file.write_text("threads = 2\n[sampling]\ntop_k = 40\n")
    options: dict[str, object] = {"threads": 1, "temperature": 0.8, "model": "x", "stop_texts": ("a",)}
    settings = settings_from(options)
    assert settings.given == {"threads", "sampling.top_k", "sampling.temperature"}
    assert settings_from({"group_size": 2}).given >= {"group_size", "context_overflow"}


def test_without_a_model_the_one_last_used_is_taken(asked: Asked, tmp_path: Path) -> None:
    model = tmp_path / "last.gguf"
    model.write_bytes(b"")
    with Store(paths.database_file()) as store:
        store.set_preference("last_model", str(model))
    run("complete", "x")
    assert asked[0][0].model_path == str(model)


# --- wrong usage


def test_what_is_kept_of_chats_can_be_set_for_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[dict[str, object]] = []
    monkeypatch.setattr(main, "_open_screen", opened.append)
    assert run("--incognito", "--prompt-cache-mib", "5").exit_code == 0
    assert run().exit_code == 0
    assert opened == [{"incognito": True, "prompt_cache_mib": 5}, {}]
    assert settings_from(opened[0]).prompt_cache_mib == 5
    assert run("--prompt-cache-mib", "-2").exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("complete", "x"),
        ("ask", "-m", "model.gguf"),
        ("complete", *MODEL),
        ("complete", "x", *MODEL, "--top-p", "2"),
        ("--nonsense",),
        (),
    ],
    ids=["no model", "no question", "no text", "value out of range", "unknown option", "no terminal"],
)
def test_wrong_usage_ends_with_status_two_and_says_why(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr


@pytest.mark.parametrize("name", ["dumb", "", "unknown", None])
def test_a_terminal_on_which_nothing_can_be_drawn_is_refused_with_a_hint_at_ask(
    name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = os.openpty()
    environment = {key: value for key, value in os.environ.items() if key != "TERM"} | (
        {} if name is None else {"TERM": name}
    )
    command = [sys.executable, "-m", "tui_llama"]
    done = subprocess.run(
        command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, cwd=ROOT, env=environment, check=False
    )
    for descriptor in (ours, theirs):
        os.close(descriptor)
    assert done.returncode == 2
    assert b"tui-llama ask" in done.stderr
    assert (f'TERM is "{name}"' if name else "TERM is not set").encode() in done.stderr


@pytest.mark.parametrize("name", ["xterm-256color", "linux", "screen", "a-name-of-tomorrow", "vt100"])
def test_a_terminal_that_is_merely_not_known_is_none_of_these(name: str) -> None:
    assert not is_plain({"TERM": name})


def test_a_model_last_used_that_is_gone_is_not_taken(tmp_path: Path) -> None:
    with Store(paths.database_file()) as store:
        store.set_preference("last_model", str(tmp_path / "gone.gguf"))
    assert run("complete", "x").exit_code == 2


def test_looking_for_the_model_last_used_leaves_no_database_behind() -> None:
    run("complete", "x")
    assert not paths.database_file().exists()


def test_input_that_is_no_text_is_an_error(use_model: UseModel) -> None:
    use_model(answering("yes"))
    result = run("complete", "-", *MODEL, stdin=b"abc\xff")
    assert result.exit_code == 1
    assert "byte 3" in result.stderr


def test_a_setting_that_makes_no_sense_is_an_error(asked: Asked) -> None:
    file = paths.settings_file()
    file.parent.mkdir(parents=True)
    file.write_text('context_size = "large"\n')
    result = run("complete", "x", *MODEL)
    assert result.exit_code == 1
    assert "context_size" in result.stderr


def test_the_version_is_told() -> None:
    assert run("--version").stdout == f"tui-llama, version {__version__}\n"


# --- tokenize


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf")


def test_tokenize_prints_a_json_list(tiny_model: Path) -> None:
    result = run("tokenize", "hello there", "-m", str(tiny_model))
    assert result.exit_code == 0
    assert json.loads(result.stdout) == open_tokenizer(tiny_model).tokenize("hello there")


def test_tokenize_reads_standard_input_to_the_last_newline(tiny_model: Path) -> None:
    result = run("tokenize", "-", "-m", str(tiny_model), stdin="hello\n")
    assert json.loads(result.stdout) == open_tokenizer(tiny_model).tokenize("hello\n")


def test_tokenize_parses_and_adds_special_tokens_only_when_told_to(tiny_model: Path) -> None:
    tokenizer = open_tokenizer(tiny_model)
    assert tokenizer.eos_id is not None
    text = tokenizer.token_text(tokenizer.eos_id)
    plain, special = (
        json.loads(run("tokenize", text, "-m", str(tiny_model), *options).stdout)
        for options in ((), ("--special", "--add-special"))
    )
    assert tokenizer.eos_id not in plain
    assert special == tokenizer.tokenize(text, add_special=True, parse_special=True)


# --- on a terminal


def test_on_a_terminal_the_result_ends_in_a_newline() -> None:
    results = FakeTerminal()
    output = Output(results, io.StringIO())
    with output.closing():
        output.result("yes")
    assert results.getvalue() == "yes\n"


def test_on_a_terminal_a_notice_behind_the_result_has_a_line_of_its_own() -> None:
    terminal = FakeTerminal()
    output = Output(terminal, terminal)
    with output.closing():
        output.result("{")
        output.notice("the JSON is not complete")
    assert terminal.getvalue() == "{\nnote: the JSON is not complete\n"


def test_a_notice_changes_nothing_of_a_result_that_goes_elsewhere() -> None:
    results, terminal = io.StringIO(), FakeTerminal()
    output = Output(results, terminal)
    with output.closing():
        output.result("{")
        output.notice("the JSON is not complete")
    assert (results.getvalue(), terminal.getvalue()) == ("{", "note: the JSON is not complete\n")


def test_what_a_terminal_would_obey_does_not_reach_it() -> None:
    results = FakeTerminal()
    output = Output(results, io.StringIO())
    with output.closing():
        output.result("a\x1b[3")
        output.result("1mb\x07c\n")
    assert results.getvalue() == "abc\n"


@pytest.mark.parametrize("shows_thoughts", [True, False])
def test_a_thought_is_dimmed_beside_the_result_on_a_terminal_only(shows_thoughts: bool) -> None:
    results, terminal, pipe = io.StringIO(), FakeTerminal(), io.StringIO()
    for messages in (terminal, pipe):
        output = Output(results, messages, shows_thoughts=shows_thoughts)
        with output.closing():
            output.thought("")
            output.thought("Hm\x1b[2J")
            output.result("Yes")
    shown = terminal.getvalue()
    assert results.getvalue() == "YesYes"
    assert pipe.getvalue() == ""
    assert shown.startswith("\x1b[2mHm") == shows_thoughts
    assert shown.endswith("\n\n") == shows_thoughts
    assert "\x1b[2J" not in shown


def test_on_a_terminal_progress_is_one_line_that_goes_away() -> None:
    messages = FakeTerminal()
    output = Output(io.StringIO(), messages)
    with output.closing():
        output.progress("reading")
        output.progress("still reading")
        output.result("yes")
    assert messages.getvalue() == "\r\x1b[Kreading\r\x1b[Kstill reading\r\x1b[K"


def test_progress_is_cut_to_the_width_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = FakeTerminal()
    monkeypatch.setattr(os, "get_terminal_size", lambda descriptor: os.terminal_size((20, 5)))
    monkeypatch.setattr(messages, "fileno", lambda: 2)
    Output(io.StringIO(), messages).progress("a line that is longer than the terminal")
    assert messages.getvalue() == "\r\x1b[Ka line that is long"


def test_elsewhere_there_is_no_progress() -> None:
    messages = io.StringIO()
    Output(io.StringIO(), messages).progress("reading")
    assert messages.getvalue() == ""


# --- real processes


def test_ctrl_c_ends_an_answer_with_status_130_and_keeps_what_was_printed() -> None:
    with start("complete", "Once", "-m", "long.gguf", "--temp", "0") as process:
        assert process.stdout is not None
        first = process.stdout.read(10)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate()
    assert process.returncode == 130
    assert first.isalpha()
    assert errors == b""
    assert rest == b"" or rest.isalpha()


def test_ctrl_c_ends_a_load_with_status_130_at_once() -> None:
    with start("complete", "Once", "-m", "endless.gguf") as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (130, b"")


def test_a_reader_that_goes_away_ends_the_answer_quietly() -> None:
    with start("complete", "Once", "-m", "long.gguf", "--temp", "0") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (141, b"")


# Not msgspec: the options are made of the settings' declarations, which every command reads.
HEAVY = ("numpy", "numba", "textual", "rich", "sqlite3", "jinja2", "asyncio", "tokenizers")


def test_the_command_line_imports_nothing_heavy_before_it_knows_what_is_wanted() -> None:
    program = f"import sys, tui_llama.cli.main; print([name for name in {HEAVY} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=ROOT, check=True)
    assert result.stdout == b"[]\n"


def program(*arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tui_llama", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, cwd=ROOT, check=False)


def test_a_tiny_model_completes_a_text_in_a_real_process(tiny_model: Path) -> None:
    arguments = ("complete", "once upon", "-m", str(tiny_model), "-n", "8", "--temp", "0", "-t", "1")
    first, second = program(*arguments), program(*arguments)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout
    assert first.stdout == second.stdout


def test_a_tiny_model_answers_a_question_in_a_real_process(tiny_model: Path) -> None:
    result = program("ask", "Hello?", "-m", str(tiny_model), "-n", "4", "--seed", "1", "-t", "1")
    assert result.returncode == 0
    assert "Traceback" not in result.stderr


@pytest.mark.shared
def test_the_stories_model_tells_the_story_that_llama_cpp_tells(shared_folder: Path) -> None:
    model = shared_folder / "data" / "stories260K.gguf"
    golden = (shared_folder / "golden" / "text" / "stories260K-greedy-200.txt").read_text()
    result = program(
        *("complete", "Once upon a time, there was a little girl", "-m", str(model), "-n", "200", "--temp", "0")
    )
    # llama.cpp's program ends with two newlines that are not the model's.
    assert (result.returncode, result.stdout) == (0, golden.removesuffix("\n\n"))


def test_colours_appear_on_a_terminal_only_and_not_with_no_color() -> None:
    def errors_on_terminal(environment: dict[str, str]) -> bytes:
        ours, theirs = os.openpty()
        command = [sys.executable, "-m", "tui_llama", "complete", "x", "-m", "missing.gguf"]
        with subprocess.Popen(command, stderr=theirs, cwd=ROOT, env={**os.environ, **environment}) as process:
            process.wait()
        os.close(theirs)
        drawn = os.read(ours, 4096)
        os.close(ours)
        return drawn

    assert b"\x1b[" in errors_on_terminal({})
    assert b"\x1b[3" not in errors_on_terminal({"NO_COLOR": "1"})


@pytest.mark.parametrize(
    "arguments", [("settings",), ("ask", "hi"), ("complete", "--continue", "ab"), ("models", "list")]
)
def test_no_command_fails_with_a_traceback_where_no_home_can_be(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUI_LLAMA_HOME", str(tmp_path / ("x" * 300)))
    result = CliRunner().invoke(main.command_line, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit)


LONG = "a" * 100_000


@pytest.mark.parametrize(
    "arguments",
    [
        ("ask", "hello", "-m", LONG),
        ("ask", "hello", "-m", f"/{LONG}.gguf"),
        ("ask", "hello", "-m", f"{LONG}/"),
        ("complete", "hello", "--temp", LONG),
        ("complete", "hello", f"--{LONG}"),
        ("state", "export", LONG, "--text", "hello"),
        ("state", "import", LONG),
        ("complete", "--continue", LONG, "hello"),
        ("pull", LONG),
        (LONG,),
    ],
)
def test_what_is_long_is_not_repeated_whole_in_an_error(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code in (1, 2)
    assert 0 < len(result.stderr) < 2500


def test_of_a_long_message_the_beginning_and_the_end_are_shown() -> None:
    error = UserError(f"{'a' * 2000} cannot be read: it is a folder", "b" * 3000)
    assert str(error).startswith("a" * 400) and str(error).endswith(" cannot be read: it is a folder")
    assert (len(str(error)), len(error.hint)) == (1001, 1001)
    assert str(UserError("short")) == "short"
