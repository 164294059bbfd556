"""`/set` on the screen: what the engine is asked with, what the status line says, and what comes back."""

from tests.fakes.chat_app import Driver, opened, spoken
from tui_llama.engine.requests import CompleteRequest, ReplyRequest
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.screens.dialogs.choosing.sampling_list import SamplingList
from tui_llama.settings import Settings


def figures(driver: Driver) -> str:
    return driver.app.chat_screen.status._status.figures


def last_request(driver: Driver) -> ReplyRequest | CompleteRequest:
    return driver.engine.reply_requests[-1]


async def test_a_value_counts_for_this_chat_and_is_shown_where_it_differs() -> None:
    settings = Settings(sampling=SamplingSettings(top_k=7), given=frozenset({"sampling.top_k"}))
    async with opened(replies=[spoken("yes")], settings=settings, size=(140, 24)) as driver:
        await driver.send("/set temp 0.2")
        await driver.send("/set top_k 7")
        assert "temperature 0.2" in figures(driver)
        await driver.ask("hi")
        request = last_request(driver)
        assert (request.sampling.temperature, request.sampling.top_k) == (0.2, 7)
        assert request.given_sampling == ("temperature", "top_k")
        assert "temperature 0.2 ·" in figures(driver)
        assert "top_k" not in figures(driver)  # it is what it would be anyway


async def test_default_takes_it_back() -> None:
    async with opened(replies=[spoken("yes")], size=(140, 24)) as driver:
        await driver.send("/set temperature 0.2")
        await driver.send("/set temperature default")
        assert "temperature is 0.8 again: the program's default." in driver.status
        await driver.ask("hi")
        assert last_request(driver).sampling.temperature == 0.8
        assert last_request(driver).given_sampling == ()


async def test_it_comes_back_with_the_chat_and_other_chats_do_not_have_it() -> None:
    async with opened(size=(140, 24)) as driver:
        await driver.ask("hi")
        await driver.send("/set min_p 0.3")
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: not driver.questions)
        await driver.ask("other")
        assert last_request(driver).sampling.min_p == 0.05
        await driver.pilot.press("ctrl+pagedown")
        await driver.until(lambda: driver.questions == ["hi"])
        await driver.ask("again")
        assert last_request(driver).sampling.min_p == 0.3
        assert "min_p 0.3" in figures(driver)


async def test_what_is_refused_changes_nothing_and_says_why() -> None:
    async with opened(size=(140, 24)) as driver:
        await driver.send("/set temperature -3")
        assert "not allowed" in driver.status
        assert driver.app.turn_driver.chat.choices.sampling == {}


async def test_without_an_argument_it_lists_what_is_in_effect_and_lets_one_be_changed() -> None:
    async with opened(size=(100, 30)) as driver:
        await driver.send("/set top_p 0.4")
        await driver.send("/set")
        await driver.until(lambda: isinstance(driver.app.screen, SamplingList))
        await driver.until(lambda: "penalty_last_n" in driver.screen_text())
        shown = driver.screen_text()
        line = next(line for line in shown.splitlines() if "top_p" in line)
        assert "0.4" in line
        assert "this chat" in line
        assert "the program's default" in shown
        await driver.pilot.press(*"top_k", "enter")
        await driver.until(lambda: driver.written == "/set top_k ")


async def test_an_incognito_chat_can_choose_too() -> None:
    async with opened(is_incognito=True, size=(140, 24)) as driver:
        await driver.send("/set seed 5")
        await driver.ask("hi")
        assert last_request(driver).sampling.seed == 5
