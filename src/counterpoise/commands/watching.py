"""`watch` behind the command line."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.live import Live

from counterpoise.commands.console import printable, say
from counterpoise.commands.diagnosis import parse_mapping
from counterpoise.commands.watch_screen import screen
from counterpoise.errors import UserError
from counterpoise.logs.names import checked_mapping
from counterpoise.objectives import objective_name
from counterpoise.run_status import UNKNOWN, UNREADABLE
from counterpoise.watching.changes import Changes
from counterpoise.watching.sources import Source, WatchOptions, open_source
from counterpoise.watching.state import State

EVERY_SECONDS = 1.0  # between two looks at the files
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
    console: Console,
) -> int:
    """Show a training until Ctrl-C; the exit code."""
    if once and web:
        raise UserError("--once with --web: a page that ends at once; give one of them")
    options = WatchOptions(
        objective=None if objective is None else objective_name(objective),
        mapping=checked_mapping(parse_mapping(mapping)),
        d_loss_is_mean=d_loss_is_mean,
    )
    if once:
        show_once(open_source(path, options), console)
        return 0
    # A request to terminate ends it as Ctrl-C does, quietly: watching changes nothing.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        if web:
            serve(path, options, port, console)
        elif console.is_terminal:
            draw(open_source(path, options), console)
        else:
            tell(states(open_source(path, options).look), console)
    return 0


def show_once(source: Source, console: Console) -> None:
    """Print the state once all is read; `UserError` where the log tells nothing."""
    while (state := source.look()).unread_bytes:
        pass
    if state.status is not None and state.status.kind in (UNREADABLE, UNKNOWN):
        raise UserError(f"{state.source}: {state.status.text}")
    console.print(screen(state, console.width))


def draw(source: Source, console: Console) -> None:
    """Draw the terminal full, again and again; what was last seen stays when it ends."""
    state: State | None = None
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            for state in states(source.look):
                live.update(screen(state, console.width), refresh=True)
    finally:
        if state is not None:
            tell([state], console)


def tell(states: Iterable[State], console: Console) -> None:
    """Print a line per change."""
    changes = Changes()
    for state in states:
        for line in changes.lines(state):
            say(console, printable(line))


def serve(path: Path, options: WatchOptions, port: int, console: Console) -> None:
    """Serve the page, and print a line per change."""
    from counterpoise.pages.run import Book
    from counterpoise.pages.server import WatchServer

    book = Book()
    with WatchServer(open_source(path, replace(options, begin=book.begin)), book, port) as server:
        say(console, f"page: {server.url} (for this machine alone; Ctrl-C ends it)")
        tell(states(server.look), console)


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
