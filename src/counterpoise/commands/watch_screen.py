"""A watched training in the terminal: as much of it as there is room for."""

from collections.abc import Iterable

import numpy as np
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from counterpoise.commands.console import SEVERITY_STYLES, printable
from counterpoise.commands.diagnosis import remedy_how
from counterpoise.diagnosis.finding import PROBLEMS, Finding
from counterpoise.diagnosis.found import number
from counterpoise.run_folder import CLOSED, DIVERGED, ENDED, FAILED
from counterpoise.run_status import RUNNING, STARTING, UNREADABLE, WAITING
from counterpoise.watching.changes import FINDING
from counterpoise.watching.state import JudgedTraining, State
from counterpoise.wording import SHOWN, objective_line, shown_series, span, sparkline, verdict

# Of those that are not here: yellow.
STATUS_STYLES = {
    RUNNING: "bold green",
    ENDED: "bold",
    CLOSED: "bold",
    STARTING: "bold cyan",
    WAITING: "bold cyan",
    UNREADABLE: "bold red",
    DIVERGED: "bold red",
    FAILED: "bold red",
}
# Lines that charts have at least, where there is room for any.
LEAST_CHART_LINES = 4
NUMBERS_WIDTH, BAR_WIDTH = 32, 30
FOOTER = "Ctrl-C ends the watching, and changes nothing."


class WatchScreen:
    """Draws a state: as much as fits into the terminal, with a footer; or all of it."""

    def __init__(self, state: State, *, fits: bool) -> None:
        self._state, self._fits = state, fits

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.update(height=None)
        parts = (self._head(), self._charts(wide.max_width), self._findings(), self._facts())
        head, charts, findings, facts = (
            console.render_lines(Group("", *part), wide, pad=False) if part else []
            for part in parts
        )
        if self._fits:
            # In a low terminal, most of the charts make room for what stands below. Not
            # `options.height`: rich forgets it where a renderable stands in another one.
            room = max(1, options.size.height - 1)
            rest = len(head) - 1 + len(findings) + len(facts)
            charts = charts[: max(LEAST_CHART_LINES + 1, room - rest)]
        lines = [*head, *charts, *findings, *facts][1:]
        for line in lines[: room if self._fits else None]:
            yield from line
            yield Segment.line()
        if self._fits:
            yield _text(FOOTER, "dim", cut=True)

    def _head(self) -> list[RenderableType]:
        state = self._state
        title = _text(state.source, "bold", cut=True)
        for name, what in (("stage", state.stage), ("policy", state.policy)):
            if what:
                title.append(f"  {name} {printable(what)}", "dim")
        lines: list[RenderableType] = [title]
        if state.status is not None:
            style = STATUS_STYLES.get(state.status.kind, "bold yellow")
            lines.append(_text(state.status.text, style))
        if state.step is not None:
            cells: list[RenderableType] = [_text(state.progress, cut=True)]
            if state.planned_steps and not state.unread_bytes:
                done = min(state.step, state.planned_steps)
                cells.append(ProgressBar(state.planned_steps, done, width=BAR_WIDTH))
            row = Table.grid(padding=(0, 1))
            row.add_row(*cells)
            lines.append(row)
        for game in state.games:
            judged = game.diagnosis
            style = SEVERITY_STYLES[judged.findings[0].severity] if judged else "bold"
            lines.append(_text(verdict(judged, game.title), style))
        return lines

    def _charts(self, width: int) -> list[RenderableType]:
        """The curves of all games, most telling first: where each is now, and its range."""
        several = len(self._state.games) > 1
        # By curve, then by game; what several D's have in common, as G's loss, is shown once.
        found: dict[str, dict[bytes, tuple[str, np.ndarray]]] = {title: {} for _, title in SHOWN}
        for game in self._state.games:
            for title, values in shown_series(game.whole):
                name = f"{game.title}: {title}" if several else title
                found[title].setdefault(values.tobytes(), (name, values))
        titled = [one for alike in found.values() for one in alike.values()]
        if not titled:
            return []
        names = min(max(len(name) for name, _ in titled), max(22, width // 4))
        table = Table.grid(padding=(0, 1))
        table.add_column(width=names, no_wrap=True)
        table.add_column(no_wrap=True, style="cyan")
        table.add_column(justify="right", no_wrap=True, style="bold")
        table.add_column(no_wrap=True, style="dim")
        room = max(8, width - names - NUMBERS_WIDTH)
        for name, values in titled:
            latest, least, most = (
                number(float(v)) for v in (values[-1], values.min(), values.max())
            )
            table.add_row(
                _text(name, cut=True), sparkline(values, room), latest, f"{least} to {most}"
            )
        return [table]

    def _findings(self) -> list[RenderableType]:
        return [
            line
            for game, finding in self._state.findings
            if game.diagnosis and game.diagnosis.rows and finding.severity in (*PROBLEMS, "note")
            for line in self._finding(game, finding)
        ]

    def _finding(self, game: JudgedTraining, finding: Finding) -> Iterable[RenderableType]:
        lead = f"{game.title}: " if len(self._state.games) > 1 else ""
        title = _text(f"{finding.severity} ", SEVERITY_STYLES[finding.severity])
        title.append(printable(f"{lead}{finding.title} "), "bold")
        yield title.append(f"[{finding.id}] {span(finding)}", "dim")
        if not self._fits:
            for item in finding.evidence:
                yield Padding(_text(f"- {item.text}", "dim"), (0, 0, 0, 4))
        if finding.remedies and finding.severity in PROBLEMS:
            first = finding.remedies[0]
            yield Padding(_text(f"change first: {first.text}"), (0, 0, 0, 2))
            how = remedy_how(first, game.whole.policy)
            if how and not self._fits:
                yield Padding(_text(how, "cyan"), (0, 0, 0, 4))

    def _facts(self) -> list[RenderableType]:
        state = self._state
        # The stage stands at the top.
        known = [(label, words) for label, words in state.facts() if label != "stage"]
        judged = [game.diagnosis for game in state.games if game.diagnosis and game.diagnosis.rows]
        # Games of one log mostly have the same.
        for line in dict.fromkeys(map(objective_line, judged)):
            known.append(("objective", line.removeprefix("Objective: ")))
        known += [("note", note) for note in state.notes]
        if state.sample is not None:
            known.append(("sample", str(state.sample)))
        events = [event for event in state.events if event.kind != FINDING]
        for event in events[-1:] if self._fits else events:
            known.append(("event", f"{event.time} step {event.step}: {event.message}".lstrip()))
        if not known:
            return []
        table = Table.grid(padding=(0, 1))
        table.add_column(min_width=14, style="dim", no_wrap=True)
        table.add_column(no_wrap=self._fits)
        for label, words in known:
            table.add_row(label, _text(words, cut=self._fits))
        return [table]


def _text(text: str, style: str = "", *, cut: bool = False) -> Text:
    """Text that may come from a log; in one line, which is cut, or in several."""
    return Text(printable(text), style=style, no_wrap=cut, overflow="ellipsis" if cut else "fold")
