"""Writes docs/screenshot.svg: the running app with the scripted engine, as the README shows it.

python scripts/screenshot.py
"""

import asyncio
import os
import tempfile
from pathlib import Path

from textual.pilot import Pilot

from tui_llama import paths
from tui_llama.app import ChatApp
from tui_llama.engine.scripted import ScriptedEngine
from tui_llama.settings import Settings
from tui_llama.store import Store
from tui_llama.widgets.message_view import AnswerView

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "screenshot.svg"
SIZE = (96, 34)
MODEL = "/models/Llama-3.2-1B-Instruct-Q4_K_M.gguf"
QUESTION = "What should I know about llamas?"
_ROUNDS = 1000


async def picture() -> str:
    """The app after one question, as SVG."""
    with Store(paths.database_file()) as store:
        app = ChatApp(
            engine_factory=ScriptedEngine,
            store=store,
            settings=Settings(),
            model_path=MODEL,
            find_models=lambda: [],
        )
        app.animation_level = "none"
        async with app.run_test(size=SIZE) as pilot:
            app.chat_screen.composer.cursor_blink = False
            await pilot.press(*QUESTION, "enter")
            await _answered(app, pilot)
            return app.export_screenshot(title="tui_llama")


async def _answered(app: ChatApp, pilot: Pilot[None]) -> None:
    for _ in range(_ROUNDS):
        views = app.chat_screen.query(AnswerView)
        if views and not views.last().is_live:
            return
        await pilot.pause(0.02)
    raise SystemExit("The answer never came to its end.")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        os.environ[paths.HOME_VARIABLE] = home
        PICTURE.write_text(asyncio.run(picture()), encoding="utf-8")
    print(PICTURE)
