"""Writes the README's pictures to docs/pictures: the running program, which answers with the starter model.

python -m scripts.pictures

The script fetches the starter if it is not on this machine yet. The pictures show the speed of the machine that draws
them.
"""

import asyncio
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Static

from tui_llama import paths
from tui_llama.app import ChatApp
from tui_llama.chats.store import Store
from tui_llama.engine.process.worker import EngineWorker
from tui_llama.models.source import ThisMachine
from tui_llama.models.starter.fetch import fetch_starter
from tui_llama.settings import Settings
from tui_llama.widgets.message_view import AnswerView

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "pictures"
SIZE = (96, 30)
QUESTIONS = ("What is photosynthesis?", "Write a Python function that adds two numbers.")
EDITED = "Write a Python function that multiplies two numbers."
SEED = 1
_PAUSE_SECONDS = 0.05
_MOST_SECONDS = 120.0


async def pictures(model_path: str) -> dict[str, str]:
    """Returns the pictures by their names, as SVG: a chat, its tree after an edit, and the settings."""
    drawn: dict[str, str] = {}
    with Store(paths.database_file()) as store:
        app = ChatApp(
            engine_factory=EngineWorker,
            store=store,
            settings=with_seed(Settings(), SEED),
            model_path=model_path,
            models=ThisMachine(),
        )
        app.animation_level = "none"
        async with app.run_test(size=SIZE) as pilot:
            app.chat_screen.composer.cursor_blink = False
            await _until(app, pilot, lambda: "ready" in app.chat_screen.status.render().plain)
            for count, question in enumerate(QUESTIONS, 1):
                app.chat_screen.composer.insert(question)
                await pilot.press("enter")
                await _until(app, pilot, partial(_has_answered, app, count))
            drawn["chat"] = app.export_screenshot(title="tui_llama")
            await pilot.press("up")  # in the empty composer: the last message is edited
            await _until(app, pilot, lambda: app.chat_screen.composer.text == QUESTIONS[-1])
            app.chat_screen.composer.replace_text(EDITED)
            await pilot.press("enter")
            await _until(app, pilot, partial(_has_answered, app, len(QUESTIONS)))
            drawn["tree"] = await _over_the_chat(app, pilot, "show_tree")
            drawn["settings"] = await _over_the_chat(app, pilot, "settings")
    return drawn


async def _over_the_chat(app: ChatApp, pilot: Pilot[None], action: str) -> str:
    """Returns the picture of a dialog, which is closed again."""
    await app.run_action(action)
    await _until(app, pilot, lambda: app.screen is not app.chat_screen)
    await _until(app, pilot, partial(_shows_all, app))
    await pilot.pause()
    drawn = app.export_screenshot(title="tui_llama")
    await pilot.press("escape")
    await _until(app, pilot, lambda: app.screen is app.chat_screen)
    return drawn


def _shows_all(app: ChatApp) -> bool:
    """Tells whether a dialog has its lines; the tree has all of them when it knows what is stored of the messages."""
    lines = [str(line.content) for line in app.screen.query(Static)]
    return bool(lines) and not any("Looking at" in line for line in lines)


def with_seed(settings: Settings, seed: int) -> Settings:
    """Returns the settings with a fixed seed, so that the text in the picture is the same every time."""
    import msgspec

    sampling = msgspec.structs.replace(settings.sampling, seed=seed)
    return msgspec.structs.replace(settings, sampling=sampling, given=frozenset({"sampling.seed"}))


def _has_answered(app: ChatApp, count: int) -> bool:
    views = app.chat_screen.query(AnswerView)
    return len(views) >= count and not views.last().is_live and "ready" in app.chat_screen.status.render().plain


async def _until(app: ChatApp, pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    waited_seconds = 0.0
    while not condition():
        if waited_seconds > _MOST_SECONDS:
            raise SystemExit(f"It never happened; the status is: {app.chat_screen.status.render().plain}")
        await pilot.pause(_PAUSE_SECONDS)
        waited_seconds += _PAUSE_SECONDS


def main() -> None:
    """Draws the pictures with the starter of this machine, in a temporary home."""
    starter = fetch_starter(lambda progress: None).path
    kernels = str(paths.kernel_cache_folder())
    with tempfile.TemporaryDirectory() as home:
        os.environ[paths.KERNEL_CACHE_VARIABLE] = kernels
        os.environ[paths.HOME_VARIABLE] = home
        for name, picture in asyncio.run(pictures(starter)).items():
            file = FOLDER / f"{name}.svg"
            file.write_text(picture, encoding="utf-8")
            print(file)


if __name__ == "__main__":
    main()
