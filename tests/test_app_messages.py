"""Moving by message, and acting on the one in focus: edit, continue, delete, branch, versions, undo, the tree."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from textual import events
from textual._xterm_parser import XTermParser

from tests.fakes.chat_app import Driver, opened, spoken
from tests.fakes.models import found_models
from tests.fakes.stored_prompts import cache_on
from tests.fakes.stored_prompts import store as save_tokens
from tui_llama import paths
from tui_llama.chat import Role, StopReason, Usage
from tui_llama.chats.store import Store
from tui_llama.chats.stored import TreeMessage
from tui_llama.engine.events import Finished, ModelLoaded, PromptEncoded, TextPiece
from tui_llama.engine.requests import CompleteRequest, ReplyRequest
from tui_llama.engine.scripted import Gate, ScriptedEngine, Step, demo_model
from tui_llama.screens.dialogs.ask_whether import AskWhether
from tui_llama.screens.dialogs.messages.answer_again import AnswerAgain
from tui_llama.screens.dialogs.messages.chat_tree import ChatTree
from tui_llama.screens.dialogs.messages.delete_message import DeleteMessage
from tui_llama.screens.dialogs.model_picker import ModelPicker
from tui_llama.widgets.message_view import AnswerView, UserMessage


def in_focus(driver: Driver) -> list[str]:
    """The texts of the messages that are marked as in focus."""
    views = driver.app.chat_screen.query(".-in-focus")
    return [view.shown.text for view in views if isinstance(view, UserMessage | AnswerView) and not view._pruning]


def cut_off(*pieces: str) -> list[Step]:
    """The script of a reply that ends at the token limit."""
    events: list[Step] = [PromptEncoded(0, 0, (1, 2, 3))]
    events += [TextPiece(0, piece, (10 + index,)) for index, piece in enumerate(pieces)]
    return [*events, Finished(0, StopReason.LENGTH, Usage(generated_tokens=2, context_used=9))]


async def asked(driver: Driver, *texts: str) -> None:
    for text in texts:
        await driver.ask(text)


async def go_to(driver: Driver, text: str, *keys: str) -> None:
    await driver.pilot.press(*keys)
    await driver.until(lambda: in_focus(driver) == [text], f"{text} in focus")


# --- the focus --------------------------------------------------------------------------------------------------


async def test_alt_up_goes_to_the_messages_and_the_draft_stays() -> None:
    async with opened(replies=[spoken("a"), spoken("b")]) as driver:
        await asked(driver, "one", "two")
        await driver.write("half")
        await go_to(driver, "b", "alt+up")
        await go_to(driver, "two", "alt+up")
        await go_to(driver, "a", "k")
        await go_to(driver, "one", "home")
        await go_to(driver, "one", "up")
        await go_to(driver, "a", "j")
        await go_to(driver, "b", "end")
        assert "e edit · c continue" in driver.screen_text()
        await driver.pilot.press("down")
        await driver.until(lambda: in_focus(driver) == [])
        await driver.pilot.press("!")
        assert driver.written == "half!"
        assert "e edit" not in driver.screen_text()


@pytest.mark.parametrize("key", ["escape", "tab"])
async def test_a_key_goes_back_to_what_is_written(key: str) -> None:
    async with opened(replies=[spoken("a")]) as driver:
        await asked(driver, "one")
        await go_to(driver, "a", "alt+up")
        await driver.pilot.press(key, "x")
        assert driver.written == "x"
        assert in_focus(driver) == []


async def test_a_click_on_a_message_does_not_take_the_keys_away() -> None:
    async with opened(replies=[spoken("a")]) as driver:
        await asked(driver, "one")
        await driver.pilot.click(UserMessage)
        await driver.pilot.press("d", "e")
        assert driver.written == "de"
        assert driver.questions == ["one"]


async def test_without_messages_there_is_nothing_to_go_to() -> None:
    async with opened() as driver:
        await driver.pilot.press("alt+up", "x")
        assert driver.written == "x"


# --- edits ------------------------------------------------------------------------------------------------------


async def test_an_answer_is_edited_kept_as_a_version_and_gone_on_from(store: Store) -> None:
    async with opened(replies=[spoken("a"), spoken("b"), spoken(", and more")], store=store) as driver:
        await asked(driver, "one", "two")
        await go_to(driver, "a", "alt+up", "k", "k")
        await driver.pilot.press("e")
        assert driver.written == "a"
        assert "Editing the answer" in driver.screen_text()
        await driver.write("h!")
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.answers == ["ah!"])
        assert driver.notes == ["edited · F5 goes on · version 2 of 2"]
        assert driver.written == ""
        assert len(driver.engine.reply_requests) == 2
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers == ["ah!, and more"])
        request = driver.engine.reply_requests[-1]
        assert isinstance(request, CompleteRequest)
        assert (request.answer, request.messages[-1].text) == ("ah!", "ah!")
        await driver.until_state("ready")
    (chat,) = store.list_chats()
    assert [message.text for message in store.messages(chat.chat_id)] == ["one", "ah!, and more"]


async def test_f5_while_an_answer_is_edited_keeps_it_and_goes_on() -> None:
    async with opened(replies=[spoken("a"), spoken(" c")]) as driver:
        await asked(driver, "one")
        await driver.pilot.press("alt+up", "e")
        await driver.write("b")
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers == ["ab c"])


async def test_an_answer_that_is_followed_goes_on_in_a_copy() -> None:
    async with opened(replies=[cut_off("a"), spoken("b"), spoken("bc")]) as driver:
        await asked(driver, "one", "two")
        await go_to(driver, "a", "alt+up", "home", "j")
        await driver.pilot.press("c")
        await driver.until(lambda: driver.answers == ["abc"])
        await driver.until_state("ready")
        assert driver.notes == ["version 2 of 2"]
        request = driver.engine.reply_requests[-1]
        assert isinstance(request, CompleteRequest)
        assert (request.ledger, request.answer_tokens) == ((1, 2, 3, 10), 1)
        await go_to(driver, "abc", "alt+up")
        await driver.pilot.press("left")
        await driver.until(lambda: driver.answers == ["a", "b"])


async def test_up_where_nothing_is_written_edits_the_last_message_and_else_is_the_history() -> None:
    async with opened(replies=[spoken("a")]) as driver:
        await asked(driver, "one")
        await driver.pilot.press("up")
        assert "Editing your message" in driver.screen_text()
        await driver.pilot.press("escape")
        assert driver.written == ""


# --- deleting, branching, undoing -------------------------------------------------------------------------------


async def delete(driver: Driver, key: str) -> None:
    """Deletes the message in focus, with a key of the dialog."""
    await driver.pilot.press("d")
    await driver.until(lambda: isinstance(driver.app.screen, DeleteMessage))
    await driver.until(lambda: "Only this (o)" in driver.screen_text())
    await driver.pilot.press(key)
    await driver.until(lambda: not isinstance(driver.app.screen, DeleteMessage))


async def test_a_message_is_deleted_with_what_follows_and_undo_brings_it_back(store: Store) -> None:
    async with opened(replies=[spoken("a"), spoken("b")], store=store) as driver:
        await asked(driver, "one", "two")
        await go_to(driver, "two", "alt+up", "k")
        await delete(driver, "a")
        await driver.until(lambda: driver.answers == ["a"])
        assert "2 messages are deleted" in driver.status
        await driver.until(lambda: in_focus(driver) == ["a"])
        await driver.at_rest()
    async with opened(store=store) as driver:
        await driver.pilot.press("ctrl+pagedown")
        await driver.until(lambda: driver.answers == ["a"])
        await driver.send("/undo")
        await driver.until(lambda: driver.answers == ["a", "b"])
        assert "Undone: the deletion." in driver.status
        await driver.pilot.press("alt+u")
        assert "There is nothing to undo." in driver.status


@pytest.mark.parametrize("size", [(60, 20), (100, 30)])
async def test_a_message_is_deleted_alone_what_follows_stays_and_undo_brings_it_back(
    store: Store, size: tuple[int, int]
) -> None:
    replies = [spoken("a"), spoken("b"), spoken("c")]
    async with opened(replies=replies, store=store, size=size) as driver:
        await asked(driver, "one", "two")
        await go_to(driver, "a", "alt+up", "home", "j")
        await driver.pilot.press("d")
        await driver.until(lambda: "2 messages follow it." in driver.screen_text())
        await driver.until(lambda: "The next answer then keeps" in driver.screen_text())
        await driver.pilot.press("enter")  # on the button that has the focus
        await driver.until(lambda: driver.answers == ["b"])
        assert driver.questions == ["one", "two"]
        assert "The message is deleted" in driver.status
        await driver.pilot.press("escape")
        await driver.ask("three")
        request = driver.engine.reply_requests[-1]
        assert isinstance(request, ReplyRequest)
        assert [message.text for message in request.messages] == ["one", "two", "b", "three"]
        await driver.at_rest()
    async with opened(store=store) as driver:
        await driver.pilot.press("ctrl+pagedown")
        await driver.until(lambda: driver.answers == ["b", "c"])
        await driver.send("/undo")
        await driver.until(lambda: driver.answers == ["a", "b", "c"])


async def test_a_deletion_can_be_called_off() -> None:
    async with opened(replies=[spoken("a")]) as driver:
        await asked(driver, "one")
        for key in ("n", "escape"):
            await go_to(driver, "one", "alt+up", "home")
            await delete(driver, key)
            assert (driver.questions, driver.answers) == (["one"], ["a"])


async def test_the_last_message_is_deleted_by_a_command_and_then_the_chat_whose_messages_are_all_gone(
    store: Store,
) -> None:
    async with opened(replies=[spoken("a")], store=store) as driver:
        await asked(driver, "one")
        for _ in range(2):
            await driver.send("/delete message")
        await driver.until(lambda: (driver.questions, driver.answers) == ([], []))
        await driver.send("/delete message")
        await driver.until_state("There is no message to delete.")
        await driver.send("/delete everything")
        await driver.until_state("Write /delete for this chat")
        await driver.send("/delete")
        await driver.until(lambda: isinstance(driver.app.screen, AskWhether))
        await driver.pilot.press("y")
        await driver.at_rest()
        await driver.until(lambda: store.list_chats() == [])
        await driver.send("/delete")
        await driver.until_state("This chat is empty")


async def test_another_branch_is_begun_from_any_message() -> None:
    async with opened(replies=[spoken("a"), spoken("b"), spoken("c")]) as driver:
        await asked(driver, "one", "two")
        await go_to(driver, "a", "alt+up", "k", "k")
        await driver.pilot.press("b")
        await driver.until(lambda: driver.answers == ["a"])
        await driver.ask("three")
        assert driver.questions == ["one", "three\nversion 2 of 2"]
        await go_to(driver, "three", "alt+up", "k")
        assert "←→ 2/2" in driver.screen_text()
        await driver.pilot.press("left")
        await driver.until(lambda: driver.answers == ["a", "b"])
        await driver.until(lambda: in_focus(driver) == ["two"])
        await driver.pilot.press("right")
        await driver.until(lambda: driver.answers == ["a", "c"])


async def test_a_key_with_alt_is_no_text_though_the_terminal_sends_its_letter() -> None:
    async with opened(replies=[spoken("a")]) as driver:
        await asked(driver, "one")
        driver.app.post_message(events.Key("alt+u", "u"))
        await driver.until_state("nothing to undo")
        assert driver.written == ""


async def test_the_last_edit_deletion_and_branch_are_undone_one_after_the_other() -> None:
    async with opened(replies=[spoken("a"), spoken("b"), spoken("c")]) as driver:
        await asked(driver, "one", "two")
        await go_to(driver, "two", "alt+up", "k")
        await driver.pilot.press("e")
        await driver.write("!")
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.answers == ["a", "c"])
        await driver.until_state("ready")
        await go_to(driver, "one", "alt+up", "home")
        await driver.pilot.press("b")
        await driver.until(lambda: driver.answers == [])
        await driver.send("/delete message")
        await driver.until(lambda: "Only this (o)" in driver.screen_text())
        await driver.pilot.press("a")
        await driver.until(lambda: driver.questions == [])
        for what, answers in (("deletion", []), ("new branch", ["a", "c"]), ("edit", ["a", "b"])):
            await driver.send("/undo")
            await driver.until_state(f"Undone: the {what}.")
            assert driver.answers == answers
        await driver.send("/undo")
        await driver.until_state("nothing to undo")


async def test_a_title_is_undone_by_a_key() -> None:
    async with opened(replies=[spoken("a")]) as driver:
        await asked(driver, "one")
        await driver.send("/rename Numbers")
        await driver.until(lambda: "Numbers" in driver.screen_text())
        await driver.pilot.press("alt+u")
        await driver.until(lambda: "Numbers" not in driver.screen_text())


def half_answered(gate: Gate) -> list[list[Step]]:
    """Two replies, the second of which waits in its middle."""
    return [spoken("a"), [*spoken("b", "c")[:2], gate, *spoken("b", "c")[2:]]]


async def asks_to_stop(driver: Driver, key: str) -> None:
    await driver.until(lambda: isinstance(driver.app.screen, AskWhether))
    await driver.until(lambda: "Stop the answer first?" in driver.screen_text())
    await driver.pilot.press(key)
    await driver.until(lambda: not isinstance(driver.app.screen, AskWhether))


async def test_while_an_answer_comes_nothing_is_changed_unless_the_user_lets_it_be_stopped() -> None:
    gate = Gate()
    async with opened(replies=half_answered(gate)) as driver:
        await asked(driver, "one")
        await driver.send("two")
        await driver.until_state("answering")
        await go_to(driver, "one", "alt+up", "home")
        await driver.pilot.press("b")
        await asks_to_stop(driver, "n")
        await driver.until_state("answering")
        assert driver.questions == ["one", "two"]
        await driver.pilot.press("d")
        await driver.until(lambda: "Only this (o)" in driver.screen_text())
        await driver.pilot.press("a")
        await asks_to_stop(driver, "escape")
        assert driver.questions == ["one", "two"]
        await driver.pilot.press("u")
        await driver.until_state("nothing to undo")
        gate.open()
        await driver.until_state("ready")
        assert driver.answers == ["a", "bc"]


async def test_an_answer_is_stopped_for_another_branch_and_its_text_is_kept(store: Store) -> None:
    gate = Gate()
    async with opened(replies=half_answered(gate), store=store) as driver:
        await asked(driver, "one")
        await driver.send("/regen")
        await driver.until(lambda: driver.answers == ["b"])
        await go_to(driver, "b", "alt+up")
        await driver.pilot.press("left")
        await asks_to_stop(driver, "y")
        gate.open()
        await driver.until(lambda: driver.answers == ["a"])
        await driver.until_state("ready")
        await driver.pilot.press("right")
        await driver.until(lambda: driver.answers == ["b"])
        assert driver.notes == ["stopped · F5 goes on · version 2 of 2"]


async def test_a_message_is_copied() -> None:
    async with opened(replies=[spoken("a")]) as driver:
        await asked(driver, "one")
        await driver.pilot.press("alt+up", "k", "y")
        assert driver.app.clipboard == "one"


# --- other answers ----------------------------------------------------------------------------------------------


async def test_an_answer_in_the_middle_is_given_again_in_the_way_that_is_chosen() -> None:
    async with opened(replies=[spoken("a"), spoken("b"), spoken("c")]) as driver:
        await asked(driver, "one", "two")
        await go_to(driver, "a", "alt+up", "k", "k")
        await driver.pilot.press("r")
        await driver.until(lambda: isinstance(driver.app.screen, AnswerAgain))
        await driver.until(lambda: "More varied" in driver.screen_text())
        await driver.pilot.press("down", "enter")
        await driver.until(lambda: driver.answers == ["c"])
        await driver.until_state("ready")
        assert driver.notes == ["version 2 of 2"]
        first, _, last = driver.engine.reply_requests
        assert isinstance(last, ReplyRequest)
        assert [message.text for message in last.messages] == ["one"]
        assert last.sampling.temperature == pytest.approx(first.sampling.temperature + 0.4)
        assert "temperature" in last.given_sampling


async def test_values_for_one_answer_are_given_with_the_command_and_hold_for_it_alone() -> None:
    async with opened(replies=[spoken("a"), spoken("b"), spoken("c")]) as driver:
        await asked(driver, "one")
        await driver.send("/regen temp=1.5 top-k=7")
        await driver.until(lambda: driver.answers == ["b"])
        await driver.until_state("ready")
        await driver.send("/regen")
        await driver.until(lambda: driver.answers == ["c"])
        _, second, third = (request.sampling for request in driver.engine.reply_requests)
        assert (second.temperature, second.top_k) == (1.5, 7)
        assert (third.temperature, third.top_k) != (1.5, 7)


@pytest.mark.parametrize(("values", "told"), [("warm=1", "Write values such as"), ("temp=warm", "must be a number")])
async def test_values_that_make_no_sense_are_explained(values: str, told: str) -> None:
    async with opened(replies=[spoken("a")]) as driver:
        await asked(driver, "one")
        await driver.send(f"/regen {values}")
        await driver.until_state(told)
        assert len(driver.engine.reply_requests) == 1


async def test_an_answer_is_given_again_by_another_model_that_is_chosen() -> None:
    """Two models, told apart by their paths; the answers are scripted."""
    models = found_models(2)
    first, second = (str(each.path) for each in models)
    engine = ScriptedEngine(replies=[spoken("of one"), spoken("of two")])
    async with opened(engine=engine, model_path=first, models=models, size=(100, 30)) as driver:
        await asked(driver, "who?")
        await driver.send("/regen model")
        await driver.until(lambda: isinstance(driver.app.screen, ModelPicker))
        await driver.until(lambda: "Model 2" in driver.screen_text())
        await driver.pilot.press("down", "enter")
        await driver.until(lambda: driver.answers == ["of two"])
        await driver.until_state("ready")
        assert [request.model_path for request in engine.load_requests] == [first, second]
        assert driver.notes == ["version 2 of 2"]
        assert driver.app.turn_driver.chat.model_path == second
        await driver.pilot.press("left")
        await driver.until(lambda: driver.answers == ["of one"])


async def test_another_model_during_an_answer_stops_it_and_answers_again() -> None:
    gate, models = Gate(), found_models(2)
    engine = ScriptedEngine(replies=[[*spoken("half", "!")[:2], gate, *spoken("half", "!")[2:]], spoken("whole")])
    async with opened(engine=engine, model_path=str(models[0].path), models=models, size=(100, 30)) as driver:
        await driver.send("who?")
        await driver.until(lambda: driver.answers == ["half"])
        await driver.send("/regen")
        await driver.until_state("Wait for this answer, or stop it with Esc")
        await driver.send("/regen model")
        await driver.until(lambda: "Model 2" in driver.screen_text())
        await driver.pilot.press("down", "enter")
        gate.open()
        await driver.until(lambda: driver.answers == ["whole"])
        await driver.until_state("ready")
        assert engine.load_requests[-1].model_path == str(models[1].path)
        assert driver.notes == ["version 2 of 2"]


# --- the tree ---------------------------------------------------------------------------------------------------


async def test_the_tree_shows_the_forks_and_goes_to_any_message() -> None:
    async with opened(replies=[spoken("a"), spoken("b"), spoken("c")], size=(100, 30)) as driver:
        await asked(driver, "one")
        await driver.send("/regen")
        await driver.until(lambda: driver.answers == ["b"])
        await driver.until_state("ready")
        await driver.ask("two")
        await driver.pilot.press("alt+t")
        await driver.until(lambda: isinstance(driver.app.screen, ChatTree))
        await driver.until(lambda: "○ 1/2 Model: a" in driver.screen_text())
        assert "● ▾ 2/2 Model: b" in driver.screen_text()
        await driver.pilot.press("up", "up", "up", "enter")
        await driver.until(lambda: driver.answers == ["a"])
        await driver.until(lambda: in_focus(driver) == ["a"])
        await driver.pilot.press("alt+t")
        await driver.until(lambda: isinstance(driver.app.screen, ChatTree))
        await driver.until(lambda: "○ ▾ 2/2 Model: b" in driver.screen_text())
        await driver.pilot.press("escape")
        await driver.until(lambda: not isinstance(driver.app.screen, ChatTree))
        assert driver.answers == ["a"]


async def test_the_tree_marks_what_has_keys_and_values_on_the_disk(home_folder: Path) -> None:
    cache = cache_on(paths.prompt_cache_folder())
    model = msgspec.structs.replace(
        demo_model("/models/small.gguf"), prompt_cache_folder=str(paths.prompt_cache_folder() / cache.folder)
    )
    engine = ScriptedEngine(load=[ModelLoaded(model)], replies=[spoken("a"), spoken("b", "c")])
    async with opened(engine=engine, size=(100, 30)) as driver:
        await asked(driver, "one")
        await driver.send("/regen")
        await driver.until(lambda: driver.answers == ["bc"])
        await driver.until_state("ready")
        await driver.send("/tree")
        await driver.until(lambda: "No keys and values on disk for this model" in driver.screen_text())
        await driver.pilot.press("escape")
        save_tokens(cache, [1, 2, 3, 10], bytes.fromhex(driver.app.turn_driver.chat.owner_id or ""))
        await driver.send("/tree")
        await driver.until(lambda: "▪ keys and values on disk" in driver.screen_text())
        marks = {
            said: next(line for line in driver.screen_text().splitlines() if said in line).rstrip(" │┃▏▎▐").rstrip()[-1]
            for said in ("You: one", "1/2 Model: a", "2/2 Model: bc")
        }
        assert marks == {"You: one": "▪", "1/2 Model: a": "▪", "2/2 Model: bc": "▪"}


@pytest.mark.parametrize(("server", "told"), [("", "prompt cache is off"), ("vLLM", "vLLM keeps keys and values")])
async def test_the_tree_says_why_nothing_is_marked(server: str, told: str) -> None:
    model = msgspec.structs.replace(demo_model("/models/small.gguf"), server=server)
    engine = ScriptedEngine(load=[ModelLoaded(model)], replies=[spoken("a")])
    async with opened(engine=engine, size=(60, 20)) as driver:
        await asked(driver, "one")
        await driver.send("/tree")
        await driver.until(lambda: told in driver.screen_text())
        assert "▪" not in driver.screen_text()


class CursorAtTheStart(ChatTree):
    """The tree, which notes where its cursor is before it has been drawn, when waiting keys may come."""

    said = ""

    def on_mount(self, event: events.Mount) -> None:  # type: ignore[override]
        super().on_mount()
        event.prevent_default()  # Textual would call that of the base class as well
        node = self.tree.cursor_node
        self.said = node.data.said if node is not None and node.data is not None else ""


async def test_the_cursor_of_the_tree_is_on_the_end_of_the_path_before_any_key_comes() -> None:
    moment = datetime(2026, 3, 14, tzinfo=UTC)
    said = [TreeMessage(1, None, Role.USER, "one", moment), TreeMessage(2, 1, Role.ASSISTANT, "a", moment)]
    async with opened() as driver:
        tree = CursorAtTheStart(said, [1, 2])
        await driver.app.push_screen(tree)
        assert tree.said == "a"


async def test_sampling_that_was_chosen_for_an_answer_is_not_that_of_the_next_message() -> None:
    gate = Gate()
    engine = ScriptedEngine(load=[gate, ModelLoaded(demo_model("/models/small.gguf"))], replies=[spoken("One")])
    async with opened(engine=engine, until_ready=False) as driver:
        await gate.reached()
        await driver.send("hi")
        driver.app.action_stop()
        driver.app.action_regenerate("temperature=1.7")
        driver.app.action_stop()
        await driver.send("and now?")
        gate.open()
        await driver.until(lambda: driver.answers == ["One"])
        assert engine.reply_requests[0].sampling.temperature != 1.7


async def test_an_answer_that_waits_keeps_its_sampling_when_one_more_is_asked_for() -> None:
    gate = Gate()
    engine = ScriptedEngine(load=[gate, ModelLoaded(demo_model("/models/small.gguf"))], replies=[spoken("One")])
    async with opened(engine=engine, until_ready=False) as driver:
        await gate.reached()
        await driver.send("hi")
        driver.app.action_stop()
        driver.app.action_regenerate("temperature=1.7")
        driver.app.action_regenerate("hotter")
        gate.open()
        await driver.until(lambda: driver.answers == ["One"])
        assert engine.reply_requests[0].sampling.temperature == 1.7


async def test_what_is_typed_right_behind_enter_is_a_message_of_its_own() -> None:
    """All keys come before the program has dealt with the first Enter, as over a slow line."""
    async with opened(replies=[spoken("one"), spoken("two")]) as driver:
        for message in XTermParser().feed("first\rsecond\rthird"):
            driver.app.post_message(message)
        await driver.until(lambda: driver.answers == ["one", "two"])
        assert driver.questions == ["first", "second"]
        assert driver.written == "third"
