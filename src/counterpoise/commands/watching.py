"""`watch` behind the command line."""

import contextlib
import math
import signal
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from counterpoise.commands.console import say
from counterpoise.commands.diagnosis import parse_mapping
from counterpoise.commands.watch_screen import screen
from counterpoise.diagnosis.finding import number
from counterpoise.diagnosis.news import FindingNews
from counterpoise.diagnosis.wording import shown_series, verdict
from counterpoise.errors import UserError, one_line
from counterpoise.logs.names import checked_mapping
from counterpoise.objectives import objective_name
from counterpoise.run_status import FINAL, UNKNOWN, UNREADABLE
from counterpoise.watching.sources import Source, WatchOptions, open_source
from counterpoise.watching.state import FINDING, State

EVERY_SECONDS = 1.0  # between two looks at the files
PROGRESS_SECONDS = 30.0  # how far it is, is said no oftener
SHOWN_NUMBERS = 4  # numbers beside the progress
# The share of the time that a look, its diagnosis and its drawing may take: after them, so many
# times as long a rest.
REST = 10.0


def run(
    path: Path,
    *,
    once: bool,
    web: bool,
    port: int,
    objective: str | None,
    mapping: Sequence[str],
    d_loss_is_mean: bool,
) -> None:
    """Show a training until Ctrl-C."""
    console = Console()
    if once and web:
        raise UserError("--once with --web: a page that ends at once; give one of them")
    options = WatchOptions(
        objective=None if objective is None else objective_name(objective),
        mapping=checked_mapping(parse_mapping(mapping)),
        d_loss_is_mean=d_loss_is_mean,
    )
    if once:
        source = open_source(path, options)
        while (state := source.look()).unread_bytes:
            pass
        if state.status is not None and state.status.kind in (UNREADABLE, UNKNOWN):
            raise UserError(f"{state.source}: {state.status.text}")
        console.print(Text.from_ansi(screen(state, console.width)), soft_wrap=True)
        return
    # A request to terminate ends it as Ctrl-C does, quietly: watching changes nothing.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        if web:
            from counterpoise.pages.run import Book
            from counterpoise.pages.server import WatchServer

            book = Book()
            source = open_source(path, replace(options, begin=book.begin))
            with WatchServer(source, book, port) as server:
                say(console, f"page: {server.url} (for this machine alone; Ctrl-C ends it)")
                tell(states(server.look), console)
        elif console.is_terminal:
            draw(open_source(path, options), console)
        else:
            tell(states(open_source(path, options).look), console)


def draw(source: Source, console: Console) -> None:
    """Draw the terminal full, again and again; what was last seen stays when it ends."""
    state: State | None = None
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            for state in states(source.look):
                text = Text.from_ansi(screen(state, console.width), no_wrap=True, overflow="crop")
                live.update(text, refresh=True)
    finally:
        if state is not None:
            tell([state], console)


def tell(states: Iterable[State], console: Console) -> None:
    """Print a line per change."""
    changes = Changes()
    for state in states:
        for line in changes.lines(state):
            say(console, one_line(line))


def states(
    look: Callable[[], State], sleep: Callable[[float], None] = time.sleep
) -> Iterator[State]:
    """The state every so often, for ever; what stands in the files already is read in one go."""
    while True:
        began = time.monotonic()
        state = look()
        while state.unread_bytes and time.monotonic() - began < EVERY_SECONDS:
            state = look()
        yield state
        if not state.unread_bytes:
            sleep(max(EVERY_SECONDS, REST * (time.monotonic() - began)))


class Changes:
    """A watched training as lines, one per change; remembers what was said."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._before, self._said = State(""), dict[Hashable, str]()
        self._news: dict[str, FindingNews] = {}
        self._verdicts: dict[str, str] = {}
        self._said_at = -math.inf
        self._said_step: int | None = None

    def lines(self, state: State) -> list[str]:
        """What is new since the last state."""
        before, self._before = self._before, state
        if (before.step or 0) > (state.step or 0):
            # Another training, or this one from an earlier step: what is wrong is told anew.
            self._news.clear()
            self._verdicts.clear()
        said, self._said = self._said, dict(_facts(state))
        lines = [text for fact, text in self._said.items() if fact not in said]
        if state.games is not before.games:
            lines += self._found(state)
        if state.sample is not None and before.sample != state.sample:
            lines.append(f"samples: {state.sample}")
        now = self._clock()
        if state.unread_bytes or state.step in (None, self._said_step):
            return lines
        if now - self._said_at < PROGRESS_SECONDS:
            return lines
        self._said_at, self._said_step = now, state.step
        series = shown_series(state.games[0].whole) if state.games else []
        numbers = [f"{title} {number(float(v[-1]))}" for title, v in series[:SHOWN_NUMBERS]]
        return [*lines, ", ".join([state.progress, *numbers])]

    def _found(self, state: State) -> Iterator[str]:
        for game in state.games:
            diagnosis, title = game.diagnosis, game.title
            if diagnosis is None:
                continue
            news = self._news.setdefault(title, FindingNews()).of(diagnosis.findings)
            words = verdict(diagnosis, title)
            if self._verdicts.get(title) != words and (news or title not in self._verdicts):
                yield words
                self._verdicts[title] = words
            for item in news:
                yield f"{title}: {item.text}" if title else item.text
                if item.finding is not None and (remedies := item.finding.remedies):
                    yield f"  what to do first: {remedies[0].text}"


def _facts(state: State) -> Iterator[tuple[Hashable, str]]:
    """What is said once, as long as it holds: what it is, and in words."""
    if state.status:
        yield ("status", state.status.kind), f"{state.source}: {state.status.text}"
    if state.stage:
        yield ("stage", state.stage), f"stage {state.stage}"
    for event in state.events:
        if event.kind not in (FINDING, *FINAL):
            yield event, f"step {event.step}: {event.message}"
    for note in state.notes:
        yield ("note", note), f"note: {note}"
