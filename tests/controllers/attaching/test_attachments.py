"""Files and pastes that are attached: by a command, by "@", dropped, pasted; shown, removed, sent, and come back."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from textual import events

from tests.fakes.chat_app import Driver, opened, spoken
from tui_llama.attachments.prompt_text import with_attachments
from tui_llama.attachments.reading import read_attachment
from tui_llama.attachments.several import ReadFiles, read_typed
from tui_llama.chats.store import Store
from tui_llama.controllers.attaching import attachments
from tui_llama.engine.scripted import Gate
from tui_llama.screens.dialogs.attached_texts import AttachedTexts

PASTE = "".join(f"line {number}\n" for number in range(100))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with some files."""
    place = tmp_path / "project"
    place.mkdir()
    monkeypatch.chdir(place)
    Path("notes.txt").write_text("some notes\n")
    Path("two words.txt").write_bytes("caf\u00e9\r\n".encode("latin-1"))
    Path("binary").write_bytes(bytes(range(256)))
    Path("src").mkdir()
    Path("src/main.py").write_text("print('hi')\n")
    Path(".hidden.txt").write_text("hidden")
    Path(".gitignore").write_text("*.log\n")
    Path("all.log").write_text("log")
    return place


def chips(driver: Driver) -> list[str]:
    return [chip.attachment.name for chip in driver.app.chat_screen.attached.chips]


async def attached(driver: Driver, *names: str) -> None:
    await driver.until(lambda: chips(driver) == list(names), f"attached: {names}")


async def attach(driver: Driver, path: str, *names: str) -> None:
    await driver.write(f"/read {path}")
    await driver.pilot.press("escape", "enter")
    await attached(driver, *(names or (path,)))


def asked_messages(driver: Driver) -> list[str]:
    return [message.text for message in driver.engine.reply_requests[-1].messages]


async def test_read_attaches_a_file_which_is_sent_before_the_text() -> None:
    async with opened(replies=[spoken("notes")]) as driver:
        await attach(driver, "notes.txt")
        assert driver.written == ""
        assert "notes.txt" in driver.screen_text()
        await driver.ask("What is this?")

        notes = read_attachment(Path("notes.txt"))
        assert asked_messages(driver) == [with_attachments("What is this?", (notes,))]
        assert driver.app.turn_driver.chat.entries[0].attachments == (notes,)
        assert chips(driver) == []
        assert driver.written == ""
        assert "notes.txt · 11 bytes" in driver.questions[0]
        assert "some notes" not in driver.questions[0]


@pytest.mark.parametrize(
    "written", ["two words.txt", "'two words.txt'", '"two words.txt"', "two\\ words.txt", "~/two words.txt"]
)
async def test_paths_may_be_quoted_or_begin_at_home(
    written: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened() as driver:
        monkeypatch.setenv("HOME", str(folder))
        await attach(driver, written, "two words.txt")
        assert driver.app.chat_screen.attached.chips[0].attachment.text == "caf\u00e9\n"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("binary", "binary is not a text. Only texts can be attached."),
        ("src", "src is a folder."),
        ("pipe", "pipe is a pipe."),
        ("missing.txt", "There is no file missing.txt. Check the path."),
    ],
)
async def test_what_cannot_be_attached_is_refused_in_words(path: str, words: str) -> None:
    os.mkfifo("pipe")
    async with opened(size=(120, 30)) as driver:
        await driver.write(f"/read {path}")
        await driver.pilot.press("escape", "enter")
        await driver.until(lambda: words in driver.status, words)
        assert chips(driver) == []


async def test_tokens_are_counted_and_what_has_no_room_is_refused() -> None:
    async with opened(size=(120, 30)) as driver:
        await attach(driver, "notes.txt")
        await driver.until(lambda: "11 bytes · 29 tokens" in driver.screen_text(), "the count")
        context = driver.app.turn_driver.model
        assert context is not None
        Path("long.txt").write_text("word " * context.context_size)
        await driver.write("/read long.txt")
        await driver.pilot.press("escape", "enter")
        await driver.until(lambda: bool(driver.remarks), "a refusal")
        words = f"long.txt has {5 * context.context_size + 18:,} tokens, and the context has room for "
        assert driver.remarks[0].startswith(f"{words}{context.context_size - 29:,}.")
        assert chips(driver) == ["notes.txt"]


# --- "@" --------------------------------------------------------------------------------------------------------


async def suggested(driver: Driver, condition: Callable[[list[str]], bool]) -> None:
    popup = driver.app.chat_screen.composer.completer.popup
    assert popup is not None
    await driver.until(lambda: popup.is_open and condition([each.label for each in popup._suggestions]), "suggestions")


async def test_an_at_sign_completes_paths_and_attaches_the_file_that_is_taken() -> None:
    async with opened(replies=[spoken("code")]) as driver:
        await driver.pilot.press(*"see @")
        await suggested(driver, lambda paths: paths[:2] == ["binary", "notes.txt"] and "src/main.py" in paths)
        await driver.pilot.press(*"main")
        await suggested(driver, lambda paths: paths == ["src/main.py"])
        await driver.pilot.press("enter")
        await attached(driver, "src/main.py")
        assert driver.written == "see @src/main.py "
        await driver.pilot.press("enter")
        await driver.until_state("ready")
        await driver.until(lambda: driver.answers == ["code"], "the answer")
        assert asked_messages(driver)[0].endswith("```\n\nsee @src/main.py ")


async def test_a_path_that_is_written_whole_is_attached_by_enter_too() -> None:
    async with opened() as driver:
        await driver.pilot.press(*"@notes.txt")
        await suggested(driver, lambda paths: paths == ["notes.txt"])
        await driver.pilot.press("enter")
        await attached(driver, "notes.txt")
        assert driver.engine.reply_requests == []


async def test_hidden_files_are_offered_behind_a_dot_and_ignored_ones_are_not() -> None:
    async with opened() as driver:
        await driver.pilot.press(*"@.h")
        await suggested(driver, lambda paths: paths == [".hidden.txt"])
        await driver.pilot.press("backspace", "backspace", *"log")
        await driver.at_rest()
        popup = driver.app.chat_screen.composer.completer.popup
        assert popup is not None
        await driver.until(lambda: not popup.is_open, "no suggestions")


async def test_a_sign_inside_a_word_completes_nothing() -> None:
    async with opened(replies=[spoken("ok")]) as driver:
        await driver.pilot.press(*"me@notes")
        await driver.at_rest()
        popup = driver.app.chat_screen.composer.completer.popup
        assert popup is not None and not popup.is_open


async def test_read_completes_paths() -> None:
    async with opened() as driver:
        await driver.pilot.press(*"/read no")
        popup = driver.app.chat_screen.composer.completer.popup
        assert popup is not None
        await driver.until(lambda: [each.insert for each in popup._suggestions] == ["notes.txt"], "a suggestion")
        await driver.pilot.press("tab", "enter")
        await attached(driver, "notes.txt")


# --- dropped and pasted -----------------------------------------------------------------------------------------


async def test_dropped_files_are_attached(folder: Path) -> None:
    async with opened() as driver:
        driver.app.post_message(events.Paste(f"'{folder}/two words.txt' {folder}/notes.txt "))
        await attached(driver, "two words.txt", "notes.txt")
        assert driver.written == ""
        driver.app.post_message(events.Paste(f"file://{folder}/src/main.py\r\n"))
        await attached(driver, "two words.txt", "notes.txt", "src/main.py")


async def test_a_path_to_nothing_is_text(folder: Path) -> None:
    async with opened() as driver:
        driver.app.post_message(events.Paste(f"{folder}/nothing.txt"))
        await driver.until(lambda: driver.written == f"{folder}/nothing.txt", "the text")
        assert chips(driver) == []


async def test_a_dropped_folder_is_text_with_the_reason(folder: Path) -> None:
    async with opened(size=(120, 30)) as driver:
        driver.app.post_message(events.Paste(f"{folder}/src"))
        await driver.until(lambda: driver.written == f"{folder}/src", "the text")
        await driver.until(lambda: "src is a folder." in driver.status, "why")


async def test_a_path_behind_a_command_is_its_argument(folder: Path) -> None:
    async with opened() as driver:
        await driver.write("/read ")
        driver.app.post_message(events.Paste(f"{folder}/notes.txt"))
        await driver.until(lambda: driver.written == f"/read {folder}/notes.txt", "the argument")


async def test_a_long_paste_is_attached_and_can_become_text_again() -> None:
    async with opened() as driver:
        driver.app.post_message(events.Paste(PASTE.replace("\n", "\r\n")))
        await attached(driver, "pasted text")
        assert driver.written == ""
        driver.app.post_message(events.Paste(PASTE + "more"))
        await attached(driver, "pasted text", "pasted text 2")
        assert "100 lines" in driver.screen_text()
        await driver.pilot.press("shift+tab", "up", "t")
        await attached(driver, "pasted text 2")
        assert driver.written == PASTE


async def test_files_can_be_dropped_while_the_attachments_have_the_focus(folder: Path) -> None:
    async with opened() as driver:
        await attach(driver, "notes.txt")
        await driver.pilot.press("shift+tab")
        driver.app.post_message(events.Paste(f"{folder}/src/main.py"))
        await attached(driver, "notes.txt", "src/main.py")
        assert driver.app.chat_screen.composer.has_focus


async def test_a_short_paste_is_text() -> None:
    async with opened() as driver:
        driver.app.post_message(events.Paste("two\nlines"))
        await driver.until(lambda: driver.written == "two\nlines", "the text")


async def test_nothing_but_attachments_can_be_sent() -> None:
    async with opened(replies=[spoken("ok")]) as driver:
        await attach(driver, "notes.txt")
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.answers == ["ok"], "the answer")
        assert asked_messages(driver)[0].startswith("notes.txt:\n```\nsome notes\n```")
        assert driver.app.turn_driver.chat.title == "notes.txt"


# --- chips ------------------------------------------------------------------------------------------------------


async def test_attachments_are_removed_by_key() -> None:
    async with opened() as driver:
        await attach(driver, "notes.txt")
        await attach(driver, "src/main.py", "notes.txt", "src/main.py")
        await driver.pilot.press("backspace", "delete")
        await attached(driver, "notes.txt")
        await driver.pilot.press("x")
        await attached(driver)
        await driver.pilot.press("a")
        assert driver.written == "a"


async def test_attachments_are_removed_and_shown_by_mouse() -> None:
    async with opened() as driver:
        await attach(driver, "notes.txt")
        chip = driver.app.chat_screen.attached.chips[0]
        await driver.pilot.click(chip, offset=(3, 0))
        await driver.until(lambda: isinstance(driver.app.screen, AttachedTexts), "the dialog")
        await driver.until(lambda: "some notes" in driver.screen_text(), "the content")
        await driver.pilot.press("escape")
        await driver.until(lambda: not isinstance(driver.app.screen, AttachedTexts), "the chat")
        await driver.pilot.click(chip, offset=(chip.size.width, 0))
        await attached(driver)


async def test_escape_leaves_the_attachments_and_detach_removes_all() -> None:
    async with opened() as driver:
        await attach(driver, "notes.txt")
        await driver.pilot.press("shift+tab")
        assert driver.app.chat_screen.attached.chips[0].has_focus
        await driver.pilot.press("escape")
        assert driver.app.chat_screen.composer.has_focus
        await driver.send("/detach")
        await attached(driver)


async def test_ctrl_c_clears_the_text_first_and_then_the_attachments() -> None:
    async with opened() as driver:
        await attach(driver, "notes.txt")
        await driver.write("text")
        await driver.pilot.press("ctrl+c")
        assert driver.written == "" and chips(driver) == ["notes.txt"]
        await driver.pilot.press("ctrl+c")
        await attached(driver)


# --- prefilled, edited, reopened --------------------------------------------------------------------------------


async def test_what_is_attached_is_read_ahead_while_the_question_is_written() -> None:
    async with opened() as driver:
        await attach(driver, "notes.txt")
        notes = read_attachment(Path("notes.txt"))
        await driver.until(
            lambda: (
                [request.draft for request in driver.engine.idle_prefill_requests][-1:]
                == [with_attachments("", (notes,)).rstrip()]
            ),
            "idle prefill",
        )
        await driver.write("What is")
        await driver.until(
            lambda: driver.engine.idle_prefill_requests[-1].draft == with_attachments("What", (notes,)), "idle prefill"
        )


async def test_editing_a_message_keeps_its_attachments_and_puts_the_others_back() -> None:
    async with opened(replies=[spoken("one"), spoken("two")]) as driver:
        await attach(driver, "notes.txt")
        await driver.ask("What?")
        await attach(driver, "src/main.py")
        await driver.pilot.press("up")
        await attached(driver, "notes.txt")
        assert driver.written == "What?"
        await driver.write(" And why?")
        await driver.pilot.press("enter")
        await attached(driver, "src/main.py")
        await driver.until(lambda: driver.answers == ["two"], "the answer")
        notes = read_attachment(Path("notes.txt"))
        assert asked_messages(driver) == [with_attachments("What? And why?", (notes,))]
        assert driver.app.turn_driver.chat.entries[0].attachments == (notes,)


async def test_a_message_whose_attachments_were_removed_is_another_message() -> None:
    async with opened(replies=[spoken("one"), spoken("two")]) as driver:
        await attach(driver, "notes.txt")
        await driver.ask("What?")
        await driver.pilot.press("up")
        await attached(driver, "notes.txt")
        await driver.pilot.press("shift+tab", "x")
        await attached(driver)
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.answers == ["two"], "the answer")
        assert asked_messages(driver) == ["What?"]


async def test_a_chat_comes_back_the_same_and_says_what_has_changed(store: Store) -> None:
    async with opened(store=store, replies=[spoken("notes")]) as driver:
        await attach(driver, "notes.txt")
        await attach(driver, "src/main.py", "notes.txt", "src/main.py")
        await driver.ask("What is this?")
        sent = asked_messages(driver)
        chat_id = driver.app.turn_driver.chat.chat_id
    Path("notes.txt").write_text("other notes\n")
    Path("src/main.py").unlink()

    async with opened(store=store, replies=[spoken("again")]) as driver:
        await driver.pilot.press("ctrl+pagedown")
        await driver.until(lambda: driver.app.turn_driver.chat.chat_id == chat_id, "the chat")
        await driver.until(lambda: "file changed" in driver.questions[0], "the change")
        await driver.until(lambda: "file gone" in driver.questions[0], "the loss")
        await driver.ask("And?")
        assert asked_messages(driver)[0] == sent[0]


async def test_the_attachments_of_a_message_are_shown_by_a_click_and_a_command() -> None:
    async with opened(replies=[spoken("ok")], size=(100, 30)) as driver:
        await attach(driver, "notes.txt")
        await attach(driver, "src/main.py", "notes.txt", "src/main.py")
        await driver.ask("What is this?")
        await driver.send("/attached")
        await driver.until(lambda: "some notes" in driver.screen_text(), "the first")
        assert "1 of 2 · notes.txt" in driver.screen_text()
        await driver.pilot.press("right")
        await driver.until(lambda: "print('hi')" in driver.screen_text(), "the second")
        await driver.pilot.press("c")
        assert driver.app.clipboard == "print('hi')\n"
        await driver.pilot.press("escape")
        await driver.until(lambda: not isinstance(driver.app.screen, AttachedTexts), "the chat")
        await driver.pilot.click("UserMessage", offset=(5, 0))
        await driver.until(lambda: isinstance(driver.app.screen, AttachedTexts), "the dialog")


@pytest.mark.parametrize("key", ["enter", "space"])
async def test_the_attachments_of_a_message_that_has_the_focus_are_shown_by_key(key: str) -> None:
    async with opened(replies=[spoken("ok")]) as driver:
        await attach(driver, "notes.txt")
        await driver.ask("What is this?")
        await driver.pilot.press("alt+up", "up")
        await driver.until(lambda: "Enter attached" in driver.screen_text(), "the key")
        await driver.pilot.press(key)
        await driver.until(lambda: "some notes" in driver.screen_text(), "the content")
        await driver.pilot.press("escape")
        await driver.until(lambda: not isinstance(driver.app.screen, AttachedTexts), "the chat")
        assert driver.app.chat_screen.transcript.in_focus == 0


async def test_attached_says_when_there_is_nothing() -> None:
    async with opened() as driver:
        await driver.send("/attached")
        await driver.until(lambda: "Nothing is attached." in driver.status, "a hint")


async def test_what_is_attached_and_not_sent_is_there_at_the_next_start(store: Store) -> None:
    async with opened(store=store) as driver:
        await attach(driver, "notes.txt")
        await driver.write("What is")
        await driver.at_rest()
    async with opened(store=store) as driver:
        await driver.until(lambda: driver.written == "What is", "the draft")
        await attached(driver, "notes.txt")


async def test_each_chat_has_its_own_attachments(store: Store) -> None:
    async with opened(store=store, replies=[spoken("one")]) as driver:
        await driver.ask("hi")
        await attach(driver, "notes.txt")
        await driver.pilot.press("ctrl+n")
        await attached(driver)
        await driver.pilot.press("ctrl+pagedown")
        await attached(driver, "notes.txt")


@pytest.mark.parametrize("width", [40, 60, 120])
async def test_attachments_say_their_keys_and_keep_their_cross_on_every_screen(width: int) -> None:
    async with opened(size=(width, 20)) as driver:
        await attach(driver, "src/main.py")
        await driver.pilot.press("shift+tab")
        await driver.until(lambda: "Enter show" in driver.screen_text(), "the keys")
        line = next(row for row in driver.screen_text().splitlines() if "▪" in row)
        assert line.rstrip().endswith("  ×")


async def test_attachments_wait_with_their_message_for_the_end_of_an_answer() -> None:
    gate = Gate()
    async with opened(replies=[[*spoken("one")[:2], gate, spoken("one")[-1]], spoken("two")]) as driver:
        await driver.send("hi")
        await driver.until(lambda: driver.answers == ["one"], "the answer begins")
        await attach(driver, "notes.txt")
        await driver.pilot.press("enter")
        await attached(driver)
        await driver.until(lambda: "▪ notes.txt" in driver.screen_text(), "the queue")
        await driver.pilot.press("up")
        await attached(driver, "notes.txt")
        await driver.write("And?")
        await driver.pilot.press("enter")
        await attached(driver)
        gate.open()
        await driver.until(lambda: driver.answers == ["one", "two"], "both answers")
        assert asked_messages(driver)[-1] == with_attachments("And?", (read_attachment(Path("notes.txt")),))


async def test_a_file_that_is_attached_while_an_answer_is_edited_waits_for_the_next_message(store: Store) -> None:
    async with opened(store=store, replies=[spoken("one"), spoken("two")], size=(120, 30)) as driver:
        await driver.ask("hi")
        await driver.write("draft")
        await driver.pilot.press("alt+up", "e")
        await driver.until(lambda: driver.written == "one", "the answer")
        driver.app._attachments.attach_typed("notes.txt")
        await driver.until(lambda: "waits for your next message" in driver.status, "a hint")
        assert chips(driver) == []
        driver.app.post_message(events.Paste(PASTE))  # an answer has no attachments: it is text
        await driver.until(lambda: driver.written == f"one{PASTE}", "the paste")
        await driver.pilot.press("escape")
        await attached(driver, "notes.txt")
        assert driver.written == "draft"
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.answers == ["one", "two"], "the answer")
        assert asked_messages(driver)[-1] == with_attachments("draft", (read_attachment(Path("notes.txt")),))


async def test_the_newest_attachment_is_seen_and_a_file_that_has_changed_is_attached_anew() -> None:
    async with opened(size=(100, 30)) as driver:
        for number in range(8):
            Path(f"file{number}.txt").write_text("x")
        await driver.send("/read file*.txt")
        await driver.until(lambda: len(chips(driver)) == 8, "all")
        await driver.until(lambda: "file7.txt" in driver.screen_text(), "the last")
        Path("file3.txt").write_text("another text")
        await driver.send("/read file3.txt")
        await driver.until(lambda: chips(driver)[-1] == "file3.txt", "the file as it is now")
        assert chips(driver).count("file3.txt") == 1
        await driver.send("/read file3.txt")
        await driver.until(lambda: "file3.txt is attached already." in driver.status, "a hint")


async def test_what_a_slow_disk_gives_is_attached_where_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, may_answer = threading.Event(), threading.Event()

    def read_slowly(text: str) -> ReadFiles:
        asked.set()
        may_answer.wait()
        return read_typed(text)

    monkeypatch.setattr(attachments, "read_typed", read_slowly)
    async with opened(replies=[spoken("One")]) as driver:
        await driver.ask("hi")
        await driver.write("/read notes.txt")
        await driver.pilot.press("escape", "enter")
        await driver.until(asked.is_set, "the disk")
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: driver.questions == [])
        may_answer.set()
        await driver.at_rest()
        await driver.pilot.press("ctrl+pagedown")
        await attached(driver, "notes.txt")
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: driver.questions == [] and chips(driver) == [])
