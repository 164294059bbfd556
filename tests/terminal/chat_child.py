"""A child process for tests: the chat on a real terminal, with an engine that replays a script."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fakes.chat_app import MODEL, spoken
from tests.fakes.models import FakeModels
from tui_llama.app import ChatApp
from tui_llama.chats.store import Store
from tui_llama.engine.scripted import ScriptedEngine
from tui_llama.settings import Settings

if __name__ == "__main__":
    with TemporaryDirectory() as folder, Store(Path(folder) / "chats.sqlite3") as store:
        app = ChatApp(
            engine_factory=lambda: ScriptedEngine(replies=[spoken("ok")] * 1_000),
            store=store,
            settings=Settings(theme="llama-dusk"),
            model_path=MODEL,
            models=FakeModels(()),
        )
        app.run()
    sys.exit(app.ending_status or app.return_code or 0)
