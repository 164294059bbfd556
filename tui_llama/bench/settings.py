"""The options of `tui-llama bench` that are not settings, declared like settings."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from tui_llama.declarations import MOST, Setting, declared_in, option


class BenchSettings(msgspec.Struct, frozen=True):
    """The tests to measure. Each option but the last may have several values."""

    prompts: Annotated[int, Meta(ge=0, le=MOST, description="Tokens to read.", extra=option("-p", "--prompt"))] = 512
    answers: Annotated[int, Meta(ge=0, le=MOST, description="Tokens to write.", extra=option("-n", "--predict"))] = 64
    depths: Annotated[
        int, Meta(ge=0, le=MOST, description="Tokens in the cache before the test.", extra=option("-d", "--depth"))
    ] = 0
    repetitions: Annotated[
        int, Meta(ge=1, le=10_000, description="Repetitions of each test.", extra=option("-r", "--repetitions"))
    ] = 5


BENCH_SETTINGS: Final[dict[str, Setting]] = {setting.name: setting for setting in declared_in(BenchSettings)}
