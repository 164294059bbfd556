"""Models on the screen: the first one, the list of both parts, downloads beside the chat, and what is removed."""

from pathlib import Path

import msgspec
import pytest
from textual.widgets import Input, OptionList, Static

from tests.fakes.chat_app import MODEL, Driver, opened, spoken
from tests.fakes.models import FakeModels, facts_of, found_models
from tui_llama.models.library import FoundModel
from tui_llama.screens.dialogs.ask_whether import AskWhether
from tui_llama.screens.dialogs.model_picker import ModelPicker

STARTER = FoundModel(Path("/models/SmolLM2-135M-Instruct.Q4_1.gguf"), "SmolLM2-135M-Instruct.Q4_1", 98 * 10**6, "ours")
FETCHED = FoundModel(Path("/models/Qwen3-0.6B-Q8_0.gguf"), "Qwen3-0.6B-Q8_0", 639 * 10**6, "Hugging Face")


def picker(driver: Driver) -> ModelPicker:
    screen = driver.app.screen
    assert isinstance(screen, ModelPicker)
    return screen


async def open_picker(driver: Driver) -> ModelPicker:
    """The list, with all that is known of models."""
    await driver.pilot.press("ctrl+l")
    await driver.until(lambda: isinstance(driver.app.screen, ModelPicker), "the picker")
    await driver.until(lambda: "tok/s" in driver.screen_text(), "speeds")
    return picker(driver)


async def choose(driver: Driver, text: str) -> None:
    """Filters the list and presses Enter."""
    picker(driver).query_one(Input).value = text
    await driver.pilot.pause()
    await driver.pilot.press("enter")


def lines(driver: Driver) -> list[str]:
    options = picker(driver).query_one(OptionList)
    return [str(options.get_option_at_index(index).prompt).rstrip() for index in range(options.option_count)]


# --- the first model --------------------------------------------------------------------------------------------------


async def test_the_only_model_is_loaded_without_a_question() -> None:
    async with opened(model_path=None, models=found_models(1)) as driver:
        assert driver.engine.load_requests[0].model_path == "/models/model-1.gguf"
        assert not isinstance(driver.app.screen, ModelPicker)


async def test_among_models_that_cannot_run_the_only_one_that_can_is_loaded() -> None:
    models = FakeModels(found_models(3))
    for found in models.found[:2]:
        models.facts[str(found.path)] = facts_of(found, refusal="the architecture 'new' is not supported")
    async with opened(model_path=None, models=models) as driver:
        assert driver.engine.load_requests[0].model_path == "/models/model-3.gguf"


async def test_without_any_model_the_chat_opens_and_says_in_two_lines_what_to_do() -> None:
    async with opened(model_path=None, until_ready=False) as driver:
        await driver.until(lambda: "There is no model on this machine yet." in driver.screen_text())
        text = driver.screen_text()
        assert "F3 fetches a very small model (98 MB) · Ctrl+L shows more" in text
        assert "or put a GGUF file into" in text
        assert "no model" in driver.status


async def test_models_that_cannot_run_are_no_models_to_begin_with() -> None:
    models = FakeModels(found_models(2))
    for found in models.found:
        models.facts[str(found.path)] = facts_of(found, refusal="the architecture 'new' is not supported")
    async with opened(model_path=None, models=models, until_ready=False) as driver:
        await driver.until(lambda: "None of the models on this machine can run here." in driver.screen_text())
        assert "F3 fetches a very small model" in driver.screen_text()


async def test_a_message_that_is_sent_without_a_model_stays_where_it_was_written() -> None:
    async with opened(model_path=None, until_ready=False) as driver:
        await driver.until(lambda: "There is no model" in driver.screen_text())
        await driver.send("hello")
        await driver.until(lambda: isinstance(driver.app.screen, ModelPicker))
        assert driver.written == "hello"


async def test_the_list_is_opened_once_even_while_the_first_model_is_looked_for() -> None:
    models = FakeModels(found_models(1))
    models.searching.clear()
    async with opened(model_path=None, models=models, until_ready=False) as driver:
        await driver.until(lambda: "looking for models" in driver.status)
        await driver.pilot.press("ctrl+l")
        await driver.until(lambda: isinstance(driver.app.screen, ModelPicker))
        models.searching.set()
        await driver.until(lambda: "tok/s" in driver.screen_text(), "the list")
        assert sum(isinstance(screen, ModelPicker) for screen in driver.app.screen_stack) == 1
        assert not driver.engine.load_requests


# --- the starter ------------------------------------------------------------------------------------------------------


async def test_one_key_fetches_the_starter_and_the_chat_begins() -> None:
    models = FakeModels()
    async with opened(model_path=None, models=models, until_ready=False) as driver:
        await driver.until(lambda: "There is no model" in driver.screen_text())
        await driver.pilot.press("f3")
        models.step(40_000_000)
        await driver.until(lambda: "downloading 40 % of 100 MB" in driver.status, "progress in the status line")
        assert "Fetching the starter model" in driver.screen_text()
        assert "40 %" in driver.screen_text()
        models.arrive(STARTER)
        await driver.until_state("ready")
        assert driver.engine.load_requests[0].model_path == str(STARTER.path)
        assert models.wanted == ["starter"]


async def test_an_empty_chat_says_that_the_starter_is_very_small_and_which_key_gets_a_better_one() -> None:
    async with opened(model_path=str(STARTER.path)) as driver:
        await driver.until(lambda: "A very small model to try this with" in driver.screen_text())
        assert "Ctrl+L: better ones" in driver.screen_text()
    async with opened() as driver:
        assert "very small model" not in driver.screen_text()


async def test_a_download_that_fails_says_why_and_what_to_do() -> None:
    models = FakeModels()
    async with opened(model_path=None, models=models, until_ready=False) as driver:
        await driver.until(lambda: "There is no model" in driver.screen_text())
        await driver.pilot.press("f3")
        models.fail("the package index cannot be reached", "Check the network.")
        await driver.until(lambda: driver.remarks, "the failure")
        assert driver.remarks[-1].startswith("The package index cannot be reached")
        assert "Check the network." in driver.remarks[-1]
        await driver.pilot.press("f3")
        await driver.until(lambda: len(models.wanted) == 2, "another try")


async def test_a_download_that_breaks_in_an_unforeseen_way_is_told() -> None:
    models = FakeModels()
    async with opened(models=models) as driver:
        await driver.pilot.press("f3")
        models.events.put_nowait(OSError("no process could be started"))
        await driver.until(lambda: driver.remarks, "the failure")
        assert "no process could be started" in driver.remarks[-1]
        assert "↓" not in driver.status


# --- the list ---------------------------------------------------------------------------------------------------------


async def test_the_list_has_what_is_here_and_what_can_be_fetched() -> None:
    async with opened(models=found_models(2)) as driver:
        await open_picker(driver)
        found = lines(driver)
        assert found[0] == "On this machine"
        assert found[1].split() == ["model-1", "about", "18", "tok/s", "1.0", "GB", "Q4_K"]
        assert found[3] == "Get one"
        assert found[4].strip().startswith("SmolLM2 135M Instruct")


async def test_what_is_here_is_not_offered_again() -> None:
    async with opened(models=[STARTER]) as driver:
        await open_picker(driver)
        assert sum("SmolLM2 135M Instruct" in line for line in lines(driver)) == 1


async def test_a_model_that_cannot_run_is_shown_with_the_reason_and_not_loaded() -> None:
    models = FakeModels(found_models(2))
    first = models.found[0]
    models.facts[str(first.path)] = facts_of(first, refusal="model-1.gguf: the architecture 'new' is not supported")
    async with opened(models=models) as driver:
        await open_picker(driver)
        assert "the architecture 'new' is not supported" in lines(driver)[1]
        await choose(driver, "model-1")
        await driver.until(lambda: "the architecture 'new' is not supported" in driver.status, "the reason")
        assert isinstance(driver.app.screen, ModelPicker)
        assert [request.model_path for request in driver.engine.load_requests] == [MODEL]


async def test_a_model_that_does_not_fit_is_loaded_only_when_the_user_insists() -> None:
    async with opened(models=found_models(9)) as driver:
        await open_picker(driver)
        assert "needs 10.1 GB, 8.8 GB free" in lines(driver)[9]
        await choose(driver, "model-9")
        await driver.until(lambda: isinstance(driver.app.screen, AskWhether), "a question")
        await driver.pilot.press("n")
        await driver.until(lambda: isinstance(driver.app.screen, ModelPicker))
        await driver.pilot.press("enter")
        await driver.until(lambda: isinstance(driver.app.screen, AskWhether), "a question")
        await driver.pilot.press("y")
        await driver.until(lambda: driver.engine.load_requests[-1].model_path == "/models/model-9.gguf", "the load")


async def test_what_the_loaded_model_takes_counts_as_free_for_another() -> None:
    async with opened(models=found_models(9)) as driver:
        info = driver.app.turn_driver.model
        assert info is not None
        driver.app.live_chats.host.model = msgspec.structs.replace(info, weight_bytes=4 * 10**9)
        await open_picker(driver)
        assert "about 2.0 tok/s" in lines(driver)[9]


async def test_what_a_servers_model_takes_counts_for_nothing_on_this_machine() -> None:
    async with opened(models=found_models(9)) as driver:
        info = driver.app.turn_driver.model
        assert info is not None
        served = msgspec.structs.replace(info, weight_bytes=4 * 10**9, server="home")
        driver.app.live_chats.host.model = served
        await open_picker(driver)
        assert "about 2.0 tok/s" not in lines(driver)[9]


async def test_below_the_list_stands_what_a_model_is_good_for() -> None:
    async with opened(models=found_models(1)) as driver:
        shown = await open_picker(driver)
        assert "llama · context 32k · mit · /models/model-1.gguf" in str(shown.query_one(".details", Static).content)
        await driver.pilot.press("down")
        assert "trying out the program" in str(shown.query_one(".details", Static).content)


@pytest.mark.parametrize("text", ["~nobody-has-this-name", "x" * 300, "~"])
async def test_what_is_no_path_on_any_system_may_be_typed(text: str) -> None:
    async with opened(models=found_models(1)) as driver:
        await open_picker(driver)
        await choose(driver, text)
        await driver.until(lambda: "There is no such model or file." in driver.screen_text())
        assert picker(driver).query_one(Input).value == text
        assert [request.model_path for request in driver.engine.load_requests] == [MODEL]


async def test_a_model_is_found_by_what_others_call_it() -> None:
    models = FakeModels()
    async with opened(models=models) as driver:
        await open_picker(driver)
        await choose(driver, "qwen3:1.7b")
        await driver.until(lambda: models.wanted, "a download")
        assert models.wanted == ["qwen3-1.7b"]


async def test_a_file_that_cannot_run_hides_no_offer() -> None:
    models = FakeModels([FETCHED])
    models.facts[str(FETCHED.path)] = facts_of(FETCHED, refusal="its weights cannot be read")
    async with opened(models=models) as driver:
        await open_picker(driver)
        assert sum("Qwen3 0.6B" in line for line in lines(driver)) == 2


# --- fetching ---------------------------------------------------------------------------------------------------------


async def test_the_user_goes_on_chatting_while_a_model_is_fetched() -> None:
    models = FakeModels(found_models(1))
    async with opened(models=models, replies=[spoken("An answer.")]) as driver:
        await open_picker(driver)
        await choose(driver, "qwen3-0.6b")
        models.step(10_000_000)
        await driver.until(lambda: any("10 % of 100 MB" in line for line in lines(driver)), "progress in the list")
        await driver.pilot.press("escape")
        await driver.ask("a question")
        assert driver.answers == ["An answer."]
        models.step(50_000_000)
        await driver.until(lambda: "50 %" in driver.status, "progress in the status line")
        models.arrive(FETCHED)
        await driver.until(lambda: driver.remarks, "the offer")
        assert driver.remarks[-1] == "Qwen3 0.6B is here. To chat with it, press Ctrl+L, then Enter."
        await open_picker(driver)
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.engine.load_requests[-1].model_path == str(FETCHED.path), "the load")


async def test_a_model_that_arrives_is_under_the_cursor_of_the_open_list() -> None:
    models = FakeModels(found_models(2))
    async with opened(models=models) as driver:
        await open_picker(driver)
        await choose(driver, "qwen3-0.6b")
        await driver.until(lambda: models.wanted == ["qwen3-0.6b"])
        picker(driver).query_one(Input).value = ""
        models.arrive(FETCHED)
        await driver.until(lambda: (item := picker(driver).highlighted) and item.key == str(FETCHED.path), "the cursor")
        assert not driver.remarks


async def test_a_model_that_arrives_is_still_found_by_what_was_typed() -> None:
    models = FakeModels()
    async with opened(models=models) as driver:
        await open_picker(driver)
        await choose(driver, "starter")
        await driver.until(lambda: models.wanted == ["starter"])
        models.arrive(STARTER)
        await driver.until(lambda: lines(driver)[0] == "On this machine", "the file in the list")
        assert (item := picker(driver).highlighted) is not None and item.key == str(STARTER.path)


async def test_why_a_download_failed_is_said_in_the_open_list() -> None:
    models = FakeModels()
    async with opened(models=models, size=(60, 20)) as driver:
        shown = await open_picker(driver)
        await choose(driver, "qwen3-0.6b")
        models.fail("there is no network", "Check it.")
        await driver.until(lambda: "There is no network. Check it." in driver.screen_text(), "the reason")
        assert not driver.remarks
        shown.query_one(Input).value = "q"
        await driver.until(lambda: "There is no network" not in driver.screen_text())


async def test_typing_puts_the_cursor_on_the_first_match() -> None:
    async with opened(models=found_models(9)) as driver:
        shown = await open_picker(driver)
        await driver.pilot.press(*["down"] * 6)
        assert shown.highlighted is not None and shown.highlighted.key == "/models/model-7.gguf"
        shown.query_one(Input).value = "model"
        await driver.until(lambda: not any("SmolLM2" in line for line in lines(driver)), "the matches alone")
        assert shown.highlighted.key == "/models/model-1.gguf"
        await driver.pilot.press("down")
        shown.query_one(Input).value = "smol"
        await driver.until(lambda: not any("model-1" in line for line in lines(driver)), "the matches alone")
        assert shown.highlighted.key == "starter"


async def test_the_starter_in_use_is_not_fetched_again() -> None:
    models = FakeModels([STARTER])
    async with opened(model_path=str(STARTER.path), models=models) as driver:
        await driver.pilot.press("f3")
        await driver.until(lambda: "in use" in driver.status)
        assert not models.wanted


async def test_a_download_is_cancelled_in_the_list() -> None:
    models = FakeModels()
    async with opened(models=models) as driver:
        await open_picker(driver)
        await choose(driver, "qwen3-0.6b")
        await driver.until(lambda: "↓" in driver.status, "the download")
        await driver.pilot.press("delete")
        await driver.until(lambda: models.cancelled == ["qwen3-0.6b"], "the end of the download")
        await driver.until(lambda: "cancelled" in driver.status)
        assert not any("↓" in line for line in lines(driver))


async def test_one_model_is_fetched_at_a_time() -> None:
    models = FakeModels()
    async with opened(models=models) as driver:
        await open_picker(driver)
        await choose(driver, "qwen3-0.6b")
        await driver.until(lambda: models.wanted == ["qwen3-0.6b"])
        await choose(driver, "qwen3-8b")
        await driver.until(lambda: "is being fetched" in driver.status, "the hint")
        assert models.wanted == ["qwen3-0.6b"]


async def test_a_name_of_hugging_face_may_be_typed() -> None:
    models = FakeModels()
    async with opened(models=models) as driver:
        await open_picker(driver)
        await choose(driver, "hf:someone/a-model-GGUF:Q8_0")
        await driver.until(lambda: models.wanted, "a download")
        assert models.wanted == ["hf:someone/a-model-GGUF:Q8_0"]
        picker(driver).query_one(Input).value = ""
        await driver.until(lambda: any("↓" in line for line in lines(driver)), "the download in the list")
        assert sum("↓ hf:someone/a-model-GGUF:Q8_0" in line for line in lines(driver)) == 1


async def test_a_download_ends_with_the_program() -> None:
    models = FakeModels()
    async with opened(models=models) as driver:
        driver.app.action_get_starter()
        await driver.until(lambda: models.wanted == ["starter"])
    assert models.cancelled == ["starter"]


@pytest.mark.parametrize("size", [(60, 20), (100, 30), (40, 12)])
async def test_progress_is_seen_at_any_width(size: tuple[int, int]) -> None:
    models = FakeModels()
    async with opened(models=models, size=size) as driver:
        driver.app.action_get_starter()
        models.step(33_000_000)
        await driver.until(lambda: "33 %" in driver.status, "progress")
        # The status line alone has it all; what does not fit in the width is not drawn.
        assert "33 %" in driver.screen_text()


# --- removing ---------------------------------------------------------------------------------------------------------


async def test_a_fetched_model_is_removed_after_a_question() -> None:
    models = FakeModels([*found_models(1), FETCHED])
    models.pulled.add(FETCHED.path)
    async with opened(models=models) as driver:
        shown = await open_picker(driver)
        shown.move_to(str(FETCHED.path))
        await driver.pilot.press("delete")
        await driver.until(lambda: isinstance(driver.app.screen, AskWhether), "a question")
        await driver.pilot.press("y")
        await driver.until(lambda: FETCHED not in models.found, "the removal")
        # It is offered again.
        await driver.until(lambda: lines(driver).index("Get one") == 2)
        assert sum("Qwen3 0.6B" in line for line in lines(driver)) == 1


async def test_what_others_put_there_is_not_removed() -> None:
    models = FakeModels(found_models(2))
    async with opened(models=models) as driver:
        await open_picker(driver)
        await driver.pilot.press("delete")
        await driver.until(lambda: "Only models that this program has fetched" in driver.status, "the hint")
        assert len(models.found) == 2


async def test_the_model_in_use_is_not_removed() -> None:
    models = FakeModels([FETCHED])
    models.pulled.add(FETCHED.path)
    async with opened(model_path=str(FETCHED.path), models=models) as driver:
        await open_picker(driver)
        await driver.pilot.press("delete")
        await driver.until(lambda: isinstance(driver.app.screen, AskWhether), "a question")
        await driver.pilot.press("y")
        await driver.until(lambda: "in use" in driver.status, "the hint")
        assert models.found == [FETCHED]


# --- how it looks -----------------------------------------------------------------------------------------------------


async def test_the_cursor_is_in_sight_on_a_small_screen_while_a_download_goes_on() -> None:
    models = FakeModels(found_models(2))
    async with opened(models=models, size=(60, 20)) as driver:
        shown = await open_picker(driver)
        for _ in range(15):
            await driver.pilot.press("down")
        item = shown.highlighted
        assert item is not None
        driver.app.models.start_fetch("hf:a/b", "hf:a/b")
        models.step(10_000_000)
        await driver.until(lambda: any("10 %" in line for line in lines(driver)))
        models.step(20_000_000)
        await driver.until(lambda: any("20 %" in line for line in lines(driver)))
        assert shown.highlighted is not None and shown.highlighted.key == item.key
        await driver.until(lambda: item.title in driver.screen_text(), "the line under the cursor")


async def test_a_long_reason_leaves_room_for_the_name() -> None:
    models = FakeModels(found_models(2))
    second = models.found[1]
    models.facts[str(second.path)] = facts_of(second, refusal="a reason that is much longer than any line " * 3)
    async with opened(models=models, size=(60, 20)) as driver:
        await open_picker(driver)
        assert lines(driver)[2].strip().startswith("Model 2")
        assert lines(driver)[2].endswith("…")
