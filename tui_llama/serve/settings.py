"""The options of `tui-llama serve` that are not settings, declared like settings."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from tui_llama.declarations import Setting, declared_in, option


class ServeSettings(msgspec.Struct, frozen=True):
    """Where the server listens."""

    port: Annotated[int, Meta(ge=0, le=65535, description="Port; 0: any that is free.", extra=option("--port"))] = 8080


SERVE_SETTINGS: Final[dict[str, Setting]] = {setting.name: setting for setting in declared_in(ServeSettings)}
"""The options by their names."""
