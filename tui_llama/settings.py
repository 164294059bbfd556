"""The settings of the user: each is declared once, with type, default, range, explanation and options.

`Settings` is the declaration. `settings_sources` makes the settings file, the variables and the page of all settings
from it. `cli.options` makes the options of the command line and their help from it. The engine checks its requests by
it. No range, flag or explanation stands anywhere else.
"""

from pathlib import PurePath
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from tui_llama.chat import Thinking
from tui_llama.declarations import MOST, Applies, Group, Setting, Switch, Value, declared_in, option
from tui_llama.engine.requests import (
    CACHE_TYPES,
    EXPERT_PLACES,
    NUMA_MODES,
    LoadRequest,
    Overflow,
    OverflowMode,
    ReplyRequest,
)
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.servers.address import Server, is_server_address

SAMPLING: Final = "sampling"
"""The section of the settings that `SamplingSettings` declares, and the field that holds them."""
MOST_THREADS: Final = 1024
"""More threads than any machine of today can use. Each takes memory, and has a counter in every plan row."""

# The defaults of the engine's requests are the defaults of the settings.
_LOAD: Final = LoadRequest("")
_REPLY: Final = ReplyRequest(0, ())
_OVERFLOW: Final = Overflow()


class ModelSettings(msgspec.Struct, frozen=True):
    """What the user has set for one model only.

    Attributes:
        model_name: The name of the model's file, or of the model on a server.
        values: Pairs of a setting's name, such as "sampling.temperature", and its value.
    """

    model_name: str
    values: tuple[tuple[str, Value], ...]


class Settings(msgspec.Struct, frozen=True, eq=False):
    """All settings of the user, checked. Two instances are equal if they have the same effect."""

    theme: Annotated[
        str,
        Meta(
            description="Name of the colour theme; empty: the program's own.",
            extra=option(group=Group.LOOKS, applies=Applies.AT_ONCE),
        ),
    ] = ""
    density: Annotated[
        str,
        Meta(
            description="Room between messages and around texts; compact shows more lines.",
            extra=option(choices=("comfortable", "compact"), group=Group.LOOKS, applies=Applies.AT_ONCE),
        ),
    ] = "comfortable"
    text_width: Annotated[
        int,
        Meta(
            ge=40,
            le=1000,
            description="Largest width of the conversation, in columns.",
            extra=option(group=Group.LOOKS, applies=Applies.AT_ONCE),
        ),
    ] = 104
    animation: Annotated[
        str,
        Meta(
            description="Whether scrolling and changes of the screen are animated, and the caret blinks.",
            extra=option(choices=("on", "off"), group=Group.LOOKS, applies=Applies.AT_ONCE),
        ),
    ] = "on"
    keymap: Annotated[
        str,
        Meta(
            description=(
                "The keys to begin with; your keymap file replaces them one by one. vim also edits your text in two "
                "modes."
            ),
            extra=option(choices=("default", "leader", "vim"), group=Group.KEYS, applies=Applies.AT_ONCE),
        ),
    ] = "default"
    context_size: Annotated[
        int,
        Meta(
            ge=0,
            le=MOST,
            description="Context in tokens; 0: the model's own, or 8192 if that is larger.",
            extra=option("--ctx", group=Group.CONTEXT, applies=Applies.MODEL_LOAD, per_model=True),
        ),
    ] = _LOAD.context_size
    threads: Annotated[
        int,
        Meta(
            ge=0,
            le=MOST_THREADS,
            description="Threads that compute; 0: one for each core.",
            extra=option("-t", "--threads", group=Group.COMPUTING, applies=Applies.MODEL_LOAD),
        ),
    ] = _LOAD.threads
    batch_threads: Annotated[
        int,
        Meta(
            ge=0,
            le=MOST_THREADS,
            description="Threads that read prompts; 0: as many as threads.",
            extra=option("-tb", "--threads-batch", group=Group.COMPUTING, applies=Applies.MODEL_LOAD),
        ),
    ] = _LOAD.batch_threads
    batch_tokens: Annotated[
        int,
        Meta(
            ge=1,
            le=MOST,
            description="Largest number of prompt tokens that are read in one pass over the weights.",
            extra=option("--batch", group=Group.COMPUTING, applies=Applies.MODEL_LOAD),
        ),
    ] = _LOAD.batch_tokens
    cache_type: Annotated[
        str,
        Meta(
            description="Type of the stored keys and values; q8_0 takes half the memory.",
            extra=option("--cache-type", choices=CACHE_TYPES, group=Group.CONTEXT, applies=Applies.MODEL_LOAD),
        ),
    ] = _LOAD.cache_type
    experts: Annotated[
        str,
        Meta(
            description="Where experts' weights are; auto: in memory what fits, the rest in the file, which is slower.",
            extra=option("--experts", choices=EXPERT_PLACES, group=Group.COMPUTING, applies=Applies.MODEL_LOAD),
        ),
    ] = _LOAD.experts
    prompt_cache_mib: Annotated[
        int,
        Meta(
            ge=-1,
            le=MOST,
            description=(
                "Largest size of stored prompts in MiB; 0: a tenth of the free disk, at most 10 GiB; -1: none."
            ),
            extra=option("--prompt-cache-mib", group=Group.CACHE, applies=Applies.MODEL_LOAD),
        ),
    ] = 0
    cpu_mask: Annotated[
        str,
        Meta(
            description="Processors to run on, as the bits of a hexadecimal number; empty: all.",
            extra=option("-C", "--cpu-mask", metavar="HEX", group=Group.COMPUTING, applies=Applies.MODEL_LOAD),
        ),
    ] = _LOAD.cpu_mask
    cpu_range: Annotated[
        str,
        Meta(
            description="Processors to run on, as a range such as 0-3; empty: all.",
            extra=option("-Cr", "--cpu-range", metavar="LO-HI", group=Group.COMPUTING, applies=Applies.MODEL_LOAD),
        ),
    ] = _LOAD.cpu_range
    priority: Annotated[
        int,
        Meta(
            ge=-1,
            le=3,
            description="Priority of the threads: -1 low, 0 normal, 1 medium, 2 high, 3 real time.",
            extra=option("--prio", group=Group.COMPUTING, applies=Applies.MODEL_LOAD),
        ),
    ] = _LOAD.priority
    poll: Annotated[
        int,
        Meta(
            ge=0,
            le=100,
            description="How long threads poll before they sleep, in percent of 4 milliseconds.",
            extra=option("--poll", group=Group.COMPUTING, applies=Applies.MODEL_LOAD),
        ),
    ] = _LOAD.poll
    numa: Annotated[
        str,
        Meta(
            description="Placement of threads and weights on a machine with several memory nodes; empty: anywhere.",
            extra=option("--numa", choices=("", *NUMA_MODES), group=Group.COMPUTING, applies=Applies.MODEL_LOAD),
        ),
    ] = _LOAD.numa
    max_tokens: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=MOST,
                description="Largest number of tokens of an answer; -1: as many as the context holds.",
                extra=option("-n", "--predict", per_model=True),
            ),
        ]
        | None
    ) = _REPLY.max_tokens
    thinking: Annotated[
        str,
        Meta(
            description="Whether a model thinks before it answers, and how hard, as far as it lets one choose.",
            extra=option(
                "--thinking",
                choices=tuple(Thinking),
                group=Group.ANSWERS,
                per_model=True,
                switches=(
                    Switch("--think", Thinking.ON.value, "Think before the answer."),
                    Switch("--no-think", Thinking.OFF.value, "Do not think before the answer."),
                ),
            ),
        ),
    ] = "default"
    thinking_tokens: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=MOST,
                description="Largest number of tokens of a thought, after which the answer begins; -1: no limit.",
                extra=option("--thinking-tokens", per_model=True),
            ),
        ]
        | None
    ) = None
    draft_max: Annotated[
        int,
        Meta(
            ge=0,
            le=63,
            description="Largest number of tokens drafted at once from the context; 0: none.",
            extra=option("--draft-max"),
        ),
    ] = _REPLY.draft_max
    context_overflow: Annotated[
        str,
        Meta(
            description=(
                "When the context is full: leave out the oldest turns; forget the older half and go on; let older "
                "tokens share positions; or stop."
            ),
            extra=option(
                group=Group.CONTEXT,
                choices=tuple(mode.value for mode in OverflowMode),
                switches=(
                    Switch(
                        "--context-shift",
                        OverflowMode.SHIFT.value,
                        "When the context is full, forget its older half and go on.",
                    ),
                    Switch("--no-context-shift", OverflowMode.STOP.value, "When the context is full, end the answer."),
                ),
            ),
        ),
    ] = _OVERFLOW.mode.value
    keep_tokens: Annotated[
        int,
        Meta(
            ge=-1,
            le=MOST,
            description="Tokens at the start that a shift never forgets; -1: all of the prompt.",
            extra=option("--keep", group=Group.CONTEXT),
        ),
    ] = _OVERFLOW.keep_tokens
    group_size: Annotated[
        int,
        Meta(
            ge=1,
            le=MOST,
            description="Number of older tokens that share a position in an extended context; 1: none.",
            extra=option("-gan", "--grp-attn-n", group=Group.CONTEXT),
        ),
    ] = _OVERFLOW.group_size
    group_width: Annotated[
        int,
        Meta(
            ge=1,
            le=MOST,
            description="Number of positions that are grouped at once; a multiple of group_size.",
            extra=option("-gaw", "--grp-attn-w", group=Group.CONTEXT),
        ),
    ] = _OVERFLOW.group_width
    read_ahead: Annotated[
        str,
        Meta(
            description="Whether the idle engine reads the chat and the finished part of your message in advance.",
            extra=option(choices=("on", "off"), group=Group.CACHE, applies=Applies.AT_ONCE),
        ),
    ] = "on"
    loop_guard: Annotated[
        str,
        Meta(
            description="Whether to end an answer that repeats the same passage over and over.",
            extra=option(
                choices=("on", "off"),
                switches=(
                    Switch(
                        "--no-loop-guard", "off", "Do not end an answer that repeats the same passage over and over."
                    ),
                ),
            ),
        ),
    ] = "on"
    system_prompt: Annotated[
        str,
        Meta(
            description="Instructions for the model at the start of each new chat.",
            extra=option("-s", "--system", applies=Applies.NEW_CHAT),
        ),
    ] = ""
    persona: Annotated[
        str,
        Meta(
            description="Name of the persona of new chats; empty: none.",
            extra=option("--persona", metavar="NAME", applies=Applies.NEW_CHAT),
        ),
    ] = ""
    sampling: SamplingSettings = SamplingSettings()
    given: frozenset[str] = frozenset()
    """The names, such as "sampling.temperature", of the settings that somebody has set, even to their defaults."""
    servers: tuple[Server, ...] = ()
    """The servers of the settings file, in its order."""
    models: tuple[ModelSettings, ...] = ()
    """The settings of single models, without those that a variable or the command line sets for all of them."""

    def __eq__(self, other: object) -> bool:
        return self._effect == other._effect if isinstance(other, Settings) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._effect)

    @property
    def _effect(self) -> tuple[Any, ...]:
        return msgspec.structs.astuple(msgspec.structs.replace(self, given=frozenset()))

    def load_request(self, model_path: str) -> LoadRequest:
        """Returns the request to load a model, for a program that stores no prompts."""
        own = self.for_model(model_path)
        return LoadRequest(
            model_path,
            context_size=own.context_size,
            threads=own.threads,
            batch_tokens=own.batch_tokens,
            batch_threads=own.batch_threads,
            cache_type=own.cache_type,
            experts=own.experts,
            cpu_mask=own.cpu_mask,
            cpu_range=own.cpu_range,
            priority=own.priority,
            poll=own.poll,
            numa=own.numa,
        )

    def for_model(self, model_path: str) -> "Settings":
        """Returns the settings for the model at a path or address: its own where it has some, else those of all."""
        name = model_name(model_path)
        own = dict(next((each.values for each in self.models if each.model_name == name), ()))
        if not own:
            return self
        sampling = {key.rpartition(".")[2]: own.pop(key) for key in list(own) if key.startswith(f"{SAMPLING}.")}
        return msgspec.structs.replace(
            self,
            **own,
            sampling=msgspec.structs.replace(self.sampling, **sampling),
            given=self.given | own.keys() | {f"{SAMPLING}.{key}" for key in sampling},
        )

    def overflow(self) -> Overflow:
        """Returns what to do when the context is full."""
        return Overflow(OverflowMode(self.context_overflow), self.keep_tokens, self.group_size, self.group_width)


SETTINGS: Final[dict[str, Setting]] = {
    setting.name: setting for setting in (*declared_in(Settings), *declared_in(SamplingSettings, SAMPLING))
}
"""All settings by their names, in the order of their declarations."""


def model_name(model_path: str) -> str:
    """Returns the name by which a model has settings of its own: that of its file, or of the model on its server."""
    return model_path.partition("#")[2] if is_server_address(model_path) else PurePath(model_path).name


def check_fields(values: object, *names: str, section: str = "") -> None:
    """Checks the fields of an object against the settings of the same names. A field of None is not checked.

    Args:
        values: The object, with a field for each name.
        names: The names of the fields.
        section: The section of the settings.

    Raises:
        SettingsError: a value is not allowed. Names the first such field and its value.
    """
    for name in names:
        value = getattr(values, name)
        if value is not None:
            SETTINGS[f"{section}.{name}" if section else name].check(value, name)
