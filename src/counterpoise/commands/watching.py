"""`watch` behind the command line."""

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich import get_console
from rich.live import Live
from rich.text import Text

from counterpoise.commands.console import say
from counterpoise.commands.diagnosis import parse_mapping
from counterpoise.commands.watch_screen import screen
from counterpoise.errors import UserError
from counterpoise.logs.names import checked_mapping
from counterpoise.objectives import objective_name
from counterpoise.run_status import UNKNOWN, UNREADABLE
from counterpoise.watching.sources import Source, WatchOptions, open_source
from counterpoise.watching.state import State

EVERY_SECONDS = 1.0  # between two looks at the files
# Into a pipe, how far it is and what is wrong are said no oftener: a finding may come and go.
PROGRESS_SECONDS, FINDINGS_SECONDS = 30.0, 10.0
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
        show(state)
        return
    # A request to terminate ends it as Ctrl-C does, quietly: watching changes nothing.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        if web:
            from counterpoise.pages.curves import Curves
            from counterpoise.pages.server import WatchServer

            curves = Curves()
            source = open_source(path, replace(options, begin=curves.begin))
            with WatchServer(source, curves, port) as server:
                say(f"page: {server.url} (for this machine alone; Ctrl-C ends it)")
                tell(states(server.look))
        elif get_console().is_terminal:
            draw(open_source(path, options))
        else:
            tell(states(open_source(path, options).look))


def draw(source: Source) -> None:
    """Draw the terminal full, again and again; what was last seen stays when it ends."""
    state: State | None = None
    try:
        with Live(screen=True, auto_refresh=False) as live:
            for state in states(source.look):
                drawn = screen(state, live.console.width)
                text = Text.from_ansi(drawn, no_wrap=True, overflow="crop")
                live.update(text, refresh=True)
    finally:
        if state is not None:
            show(state)


def tell(states: Iterable[State]) -> None:
    """Print a state where something is to be said of it, and now and then how far it is."""
    stands, wrong, step = None, None, None
    said_at = -math.inf
    for state in states:
        quiet_seconds = time.monotonic() - said_at
        # Words and numbers of these change with every look.
        stands_now = state.status and state.status.kind, state.stage, state.events, state.sample
        wrong_now = [(game.title, f.id, f.severity) for game, f in state.findings]
        if stands_now != stands or (wrong_now != wrong and quiet_seconds >= FINDINGS_SECONDS):
            stands, wrong = stands_now, wrong_now
            show(state)
        elif state.step != step and quiet_seconds >= PROGRESS_SECONDS:
            say(state.progress)
        else:
            continue
        said_at, step = time.monotonic(), state.step


def show(state: State) -> None:
    """Print a state; without colours into a pipe or a file."""
    console = get_console()
    console.print(Text.from_ansi(screen(state, console.width)), soft_wrap=True)


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
