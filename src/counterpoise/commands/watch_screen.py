"""A watched training in the terminal, most telling first."""

from collections.abc import Iterable, Iterator

import numpy as np
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from counterpoise.commands.console import SEVERITY_STYLES, printable
from counterpoise.diagnosis import wording
from counterpoise.diagnosis.finding import PROBLEMS, number
from counterpoise.run_folder import CLOSED, DIVERGED, ENDED, FAILED
from counterpoise.run_status import RUNNING, STARTING, UNREADABLE
from counterpoise.watching.state import FINDING, JudgedTraining, State

# Of those that are not here: yellow.
STATUS_STYLES = {RUNNING: "bold green", STARTING: "bold cyan", ENDED: "bold", CLOSED: "bold"}
STATUS_STYLES |= dict.fromkeys((UNREADABLE, DIVERGED, FAILED), "bold red")
NUMBERS_WIDTH, BAR_WIDTH = 32, 30


def screen(state: State, width: int) -> Group:
    """A state, for a terminal of so many columns."""
    lines = [*_head(state)]
    for part in (_findings(state), _facts(state), _charts(state.games, width)):
        if below := [*part]:
            lines += ["", *below]
    return Group(*lines)


def _head(state: State) -> Iterator[RenderableType]:
    title = _text(state.source, "bold", cut=True)
    for name, what in (("stage", state.stage), ("policy", state.policy)):
        if what:
            title.append(f"  {name} {printable(what)}", "dim")
    yield title
    if state.status is not None:
        yield _text(state.status.text, STATUS_STYLES.get(state.status.kind, "bold yellow"))
    if state.step is not None:
        cells: list[RenderableType] = [_text(state.progress, cut=True)]
        if state.planned_steps and not state.unread_bytes:
            done = min(state.step, state.planned_steps)
            cells.append(ProgressBar(state.planned_steps, done, width=BAR_WIDTH))
        row = Table.grid(padding=(0, 1))
        row.add_row(*cells)
        yield row
    for game in state.games:
        judged = game.diagnosis
        style = SEVERITY_STYLES[judged.findings[0].severity] if judged else "bold"
        yield _text(wording.verdict(judged, game.title), style)


def _findings(state: State) -> Iterator[RenderableType]:
    """The evidence, worst first, and then what to do first."""
    first = ""
    for game, finding in state.findings:
        if not (game.diagnosis and game.diagnosis.rows) or finding.severity == "healthy":
            continue
        lead = f"{game.title}: " if len(state.games) > 1 else ""
        title = _text(f"{finding.severity}: ", SEVERITY_STYLES[finding.severity])
        title.append(printable(f"{lead}{wording.title_of(finding)} "), "bold")
        yield title.append(f"[{finding.id}] {wording.span(finding)}", "dim")
        for item in finding.evidence[:1]:
            yield Padding(_text(f"- {item.text}"), (0, 0, 0, 2))
        if finding.remedies and finding.severity in PROBLEMS:
            first = first or finding.remedies[0].text
    if first:
        yield _text(f"What to do first: {first}", "bold")


def _charts(games: Iterable[JudgedTraining], width: int) -> Iterator[RenderableType]:
    """The curves of all games, most telling first: where each is now, and its range."""
    # By curve, then by game; what several D's have in common, as G's loss, is shown once.
    found: dict[str, dict[bytes, tuple[str, np.ndarray]]] = {
        title: {} for _, title in wording.SHOWN
    }
    for game in games:
        for title, values in wording.shown_series(game.whole):
            name = f"{game.title}: {title}" if game.title else title
            found[title].setdefault(values.tobytes(), (name, values))
    titled = [one for alike in found.values() for one in alike.values()]
    if not titled:
        return
    names = min(max(len(name) for name, _ in titled), max(22, width // 4))
    table = Table.grid(padding=(0, 1))
    table.add_column(width=names, no_wrap=True)
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(justify="right", no_wrap=True, style="bold")
    table.add_column(no_wrap=True, style="dim")
    room = max(8, width - names - NUMBERS_WIDTH)
    for name, values in titled:
        latest, least, most = map(number, (values[-1], values.min(), values.max()))
        table.add_row(
            _text(name, cut=True), wording.sparkline(values, room), latest, f"{least} to {most}"
        )
    yield table


def _facts(state: State) -> Iterator[RenderableType]:
    known = [fact for fact in state.facts if fact[0] != "stage"]  # It stands at the top.
    judged = [game.diagnosis for game in state.games if game.diagnosis and game.diagnosis.rows]
    # Games of one log mostly have the same.
    for line in dict.fromkeys(map(wording.objective_line, judged)):
        known.append(("objective", line.removeprefix("Objective: ")))
    known += [("note", note) for note in state.notes]
    if state.sample is not None:
        known.append(("sample", str(state.sample)))
    for event in [event for event in state.events if event.kind != FINDING][-1:]:
        known.append(("event", f"{event.time} step {event.step}: {event.message}".lstrip()))
    table = Table.grid(padding=(0, 1))
    table.add_column(min_width=14, style="dim", no_wrap=True)
    for label, words in known:
        table.add_row(_text(label), _text(words))
    if known:
        yield table


def _text(text: str, style: str = "", *, cut: bool = False) -> Text:
    """Text that may come from a log; in one line, which is cut, or in several."""
    return Text(printable(text), style=style, no_wrap=cut, overflow="ellipsis" if cut else "fold")
