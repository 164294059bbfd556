"""The figures of a turn, and the words that the status line has for them. No clock of its own, no screen."""

from tui_llama.chat import Usage
from tui_llama.conversation import State
from tui_llama.engine.events import PromptEstimate, RereadCause

_WORTH_SHOWING_TOKENS = 64
"""Idle prefill reads fewer in no time after every turn; the figures should not jump for them."""

_WORTH_TELLING_SECONDS = 0.5

_REREAD_WORDS = {
    RereadCause.TEMPLATE_CHANGES_ANSWERS: "the template drops earlier thinking",
    RereadCause.MESSAGE_CHANGED: "an earlier message was changed",
    RereadCause.ANOTHER_MODEL: "another model",
    RereadCause.NOT_STORED: "nothing was stored for this model",
    RereadCause.MESSAGES_LEFT_OUT: "older messages are left out",
    RereadCause.DATE_RENEWED: "the date was renewed",
}


class TurnMeter:
    """Notes what the engine reports and says it in words. Times are seconds on any clock that only goes up.

    A server tells less than an engine on this machine. What it does not tell is left out; nothing is guessed.

    Attributes:
        server: The name of the server whose model is loaded or loading, not safe to print; empty for a model file.
    """

    def __init__(self) -> None:
        self.start_load()
        self._context_size = self._context_used = self._ready_tokens = 0
        self.start_turn()

    # --- what is reported ---------------------------------------------------------------------------------------

    def start_load(self, server: str = "") -> None:
        """Notes that loading begins, at no stage yet; `server` is the name of the server whose model it is."""
        self.server = server
        self._is_loaded = False
        self._load_stage, self._load_fraction = "", 0.0

    def take_over_load(self, other: "TurnMeter") -> None:
        """Notes that loading is as far as another meter knows."""
        self._load_stage, self._load_fraction = other._load_stage, other._load_fraction

    def note_load(self, stage: str, done: int, total: int) -> None:
        """Notes the progress of loading in this stage."""
        self._load_stage = stage
        self._load_fraction = min(1.0, done / total) if total > 0 else 0.0

    def note_model(self, context_size: int) -> None:
        """Notes that a model is loaded; forgets the figures of the last one."""
        self.start_turn()
        self._context_size, self._context_used = context_size, 0
        self._is_loaded = True

    def start_chat(self, last_usage: Usage | None) -> None:
        """Goes to another chat, whose last answer cost this."""
        self.start_turn()
        self._context_used = 0
        loaded_size = self._context_size
        self.note_usage(last_usage)
        if self._is_loaded or loaded_size:  # that answer may be another model's
            self._context_size = loaded_size

    def start_turn(self) -> None:
        """Notes that a reply begins. Until its prompt is known, the context keeps its tokens and idle prefill's."""
        self._context_used = max(self._context_used, self._ready_tokens)
        self._usage: Usage | None = None
        self._reused_tokens = self._done_tokens = self._total_tokens = 0
        self._reread_cause: RereadCause | None = None
        self._ready_tokens = self._certain_tokens = 0
        self._first_progress: tuple[float, int] | None = None
        self._last_progress_at = 0.0
        self._generated_tokens = 0
        self._first_token_at = self._last_token_at = 0.0
        self._asked_at: float | None = None
        self._waited_seconds: float | None = None
        self._is_compiling = False

    def note_asked(self, now: float) -> None:
        """Notes that the engine gets the request now: from here a server's time to the first token counts."""
        self._asked_at = now

    def note_ready(self, ready_tokens: int, certain_tokens: int) -> None:
        """Notes how many of the next prompt's certain tokens idle prefill has read."""
        self._ready_tokens, self._certain_tokens = ready_tokens, certain_tokens

    def note_grammar(self, done: int, total: int) -> None:
        """Notes how many steps of compiling the grammar of the answer are done."""
        self._is_compiling = done < total

    def note_prompt(
        self, reused_tokens: int, done_tokens: int, total_tokens: int, now: float, cause: RereadCause | None = None
    ) -> None:
        """Notes the progress of prefill; `cause` says why more than the new message has to be read."""
        self._reread_cause = cause
        self._reused_tokens, self._done_tokens, self._total_tokens = reused_tokens, done_tokens, total_tokens
        if self._first_progress is None:
            self._first_progress = (now, done_tokens)
        self._last_progress_at = now
        self._context_used = done_tokens

    def note_tokens(self, count: int, now: float) -> None:
        """Notes that `count` more tokens were generated. A piece of a server's answer tells no count: 0."""
        if self._waited_seconds is None and self._asked_at is not None:
            self._waited_seconds = now - self._asked_at
        if not count:
            return
        if not self._generated_tokens:
            self._first_token_at = now
        self._generated_tokens += count
        self._context_used += count
        self._last_token_at = now

    def note_usage(self, usage: Usage | None) -> None:
        """Notes the cost of the reply that has ended; None leaves the figures as they were counted."""
        self._usage = usage
        if usage is not None and (usage.context_used or not usage.knows_tokens):
            self._context_used = usage.context_used
        if usage is not None and usage.context_size:
            self._context_size = usage.context_size

    # --- what it says -------------------------------------------------------------------------------------------

    def words(self, state: State) -> str:
        """Returns the state of the turn, such as "reading 1,234 / 5,000 · 3 s left"."""
        match state:
            case State.LOADING:
                return self._loading_words()
            case State.WAITING:
                return f"your message waits · {self._loading_words()}"
            case State.READING:
                return self._reading_words()
        return state.value

    def figures(self, state: State) -> str:
        """Returns the cost of the reply so far, or of the last one."""
        match state:
            case State.READING:
                reused = f"{self._reused_tokens:,} {'cached' if self.server else 'reused'}"
                return _joined(reused if self._reused_tokens else "", self._cause_words())
            case State.ANSWERING | State.STOPPING:
                count = self._generated_tokens
                generated = self._generated_words(count, self._live_rate()) if count else ""
                waited = _waited_words(self._waited_seconds if self.server else None)
                return _joined(waited, generated, self._cause_words())
            case State.READY:
                return self._ready_words()
        return self._usage_words()

    @staticmethod
    def price(estimate: PromptEstimate) -> str:
        """Returns the cost of sending something, such as "keeps 4,100 · reads 320 · about 3 s"."""
        seconds = estimate.read_seconds
        time = f"about {_duration(seconds)}" if seconds is not None and seconds >= _WORTH_TELLING_SECONDS else ""
        return _joined(f"keeps {estimate.kept_tokens:,}", f"reads {estimate.read_tokens:,}", time)

    def context(self) -> str:
        """Returns the used and the whole context, such as "1,234 / 8,192"; empty while there is no model.

        It is empty, too, as long as a server has not told both. It counts the tokens of idle prefill as well. After
        opening a chat again, these may be all that is known.
        """
        used = max(self._context_used, self._ready_tokens)
        is_known = self._context_size and (used or not self.server)
        return f"{used:,} / {self._context_size:,}" if is_known else ""

    def load_fraction(self, stage: str) -> float | None:
        """Returns the progress of the stage, from 0 to 1; None if it is not the one under way."""
        return self._load_fraction if stage == self._load_stage else None

    def _loading_words(self) -> str:
        if self.server:
            return f"{self.server} is loading the model" if self._load_stage else f"connecting to {self.server}"
        if not self._load_stage:
            return "loading"
        return f"loading · {self._load_stage} {self._load_fraction:.0%}".replace("%", " %")

    def _reading_words(self) -> str:
        if self._is_compiling:
            return "compiling the grammar"
        if not self._total_tokens:
            return f"waiting for {self.server}" if self.server else "reading the prompt"
        words = f"reading {self._done_tokens:,} / {self._total_tokens:,}"
        seconds = self._seconds_left()
        return words if seconds is None else f"{words} · {_duration(seconds)} left"

    def _seconds_left(self) -> float | None:
        if self._first_progress is None:
            return None
        started_at, first_done = self._first_progress
        seconds, tokens = self._last_progress_at - started_at, self._done_tokens - first_done
        if seconds <= 0 or tokens <= 0:
            return None
        return (self._total_tokens - self._done_tokens) * seconds / tokens

    def _live_rate(self) -> float:
        seconds = self._last_token_at - self._first_token_at
        return (self._generated_tokens - 1) / seconds if seconds > 0 else 0.0

    def _ready_words(self) -> str:
        """Returns the last reply's cost, with the progress of idle prefill before it, or with its result behind it."""
        if self._certain_tokens - self._ready_tokens >= _WORTH_SHOWING_TOKENS:
            reading = f"reading ahead {self._ready_tokens:,} / {self._certain_tokens:,}"
            return _joined(reading, self._usage_words())
        return _joined(self._usage_words(), f"{self._ready_tokens:,} ready" if self._ready_tokens else "")

    def _usage_words(self) -> str:
        usage = self._usage
        if usage is None:
            return ""
        rate = usage.generated_tokens / usage.generate_seconds if usage.generate_seconds > 0 else 0.0
        if usage.first_token_seconds is None and usage.knows_tokens and usage.knows_reused:
            generated = self._generated_words(usage.generated_tokens, rate)
            words = f"{usage.reused_tokens:,} reused · {usage.read_tokens:,} read · {generated}"
        else:
            words = _served_words(usage, rate)
        guessed = f"{usage.accepted_tokens:,} of {usage.drafted_tokens:,} guessed" if usage.drafted_tokens else ""
        return _joined(words, guessed, self._cause_words())

    def _cause_words(self) -> str:
        """Returns why more than the new message was read; empty if it was not."""
        return "" if self._reread_cause is None else _REREAD_WORDS[self._reread_cause]

    @staticmethod
    def _generated_words(count: int, rate: float) -> str:
        words = f"{count:,} generated"
        return f"{words} · {_rate(rate)} tok/s" if rate > 0 else words


def _served_words(usage: Usage, rate: float) -> str:
    """Returns what is known of a server's reply; what matters most comes first, as a narrow line shows no more."""
    return _joined(
        _waited_words(usage.first_token_seconds),
        f"{_rate(rate)} tok/s" if rate > 0 else "",
        f"{usage.reused_tokens:,} cached" if usage.knows_tokens and usage.knows_reused else "",
        f"{usage.generated_tokens:,} generated" if usage.knows_tokens else "",
    )


def _waited_words(seconds: float | None) -> str:
    return "" if seconds is None else f"{_short_duration(seconds)} to first token"


def _joined(*parts: str) -> str:
    return " · ".join(part for part in parts if part)


def _rate(tokens_per_second: float) -> str:
    return f"{tokens_per_second:,.0f}" if tokens_per_second >= 100 else f"{tokens_per_second:.1f}"


def _short_duration(seconds: float) -> str:
    if seconds >= 10:
        return _duration(seconds)
    return f"{seconds:.1f} s" if seconds >= 0.1 else f"{seconds:.2f} s"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 100:
        return f"{max(1, whole)} s"
    return f"{round(whole / 60)} min"
