"""A watched training in the terminal: as much of it as there is room for."""

from collections.abc import Iterator

import numpy as np
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from counterpoise.commands.console import SEVERITY_STYLES
from counterpoise.diagnosis.finding import PROBLEMS, SEVERITIES, Finding
from counterpoise.diagnosis.found import number
from counterpoise.pages.series import SHOWN, shown_series, sparkline
from counterpoise.pages.wording import game_verdict, objective_line
from counterpoise.run_folder import CLOSED, DIVERGED, ENDED, FAILED, INTERRUPTED
from counterpoise.run_status import (
    GONE,
    RUNNING,
    STALE,
    STARTING,
    UNKNOWN,
    UNREADABLE,
    WAITING,
)
from counterpoise.watching.changes import FINDING
from counterpoise.watching.state import Game, State

STATUS_STYLES = {
    RUNNING: "bold green",
    ENDED: "bold",
    CLOSED: "bold",
    STARTING: "bold cyan",
    WAITING: "bold cyan",
    INTERRUPTED: "bold yellow",
    STALE: "bold yellow",
    GONE: "bold yellow",
    UNKNOWN: "bold yellow",
    UNREADABLE: "bold red",
    DIVERGED: "bold red",
    FAILED: "bold red",
}
# Lines that charts have at least, where there is room for any.
LEAST_CHART_LINES = 4
LEAST_TITLE, LATEST_WIDTH, RANGE_WIDTH = 22, 9, 20
LABEL_WIDTH = 15
FOOTER = "Ctrl-C ends the watching, and changes nothing."


class WatchScreen:
    """Draws a state: as much as fits into the terminal, with a footer; or all of it."""

    def __init__(self, state: State, *, fits: bool) -> None:
        self._state, self._fits = state, fits

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Not `options.height`: rich forgets it where a renderable stands in another one.
        height = options.size.height if self._fits else None
        blocks = [block for block in self._blocks(options.max_width, height) if block]
        for place, block in enumerate(blocks):
            if place:
                yield Text("")
            yield from (_cut(line, options.max_width) for line in block)
        if height is not None:
            yield _line(FOOTER, "dim", options.max_width)

    def _blocks(self, width: int, height: int | None) -> list[list[Text]]:
        """What is to be seen, with one blank line between the parts."""
        head, facts = self._head(width, height), self._facts(width, height)
        charts, findings = self._charts(width), self._findings(width, height)
        if height is None:
            return [head, charts, findings, facts]
        # In a low terminal, the verdict counts more than settings, both than the findings, and
        # these than most of the charts.
        room = height - 1
        head = head[: max(1, room)]
        facts = facts[: max(0, room - len(head) - 1)]
        room = max(0, room - len(head) - len(facts) - 3)
        findings = self._fitting(findings, room - min(len(charts), LEAST_CHART_LINES))
        return [head, charts[: max(0, room - len(findings))], findings, facts]

    def _head(self, width: int, height: int | None) -> list[Text]:
        state, most = self._state, None if height is None else 2
        title = Text().append(state.source, "bold")
        parts = [state.stage and f"stage {state.stage}", state.policy and f"policy {state.policy}"]
        title.append("".join(f"  {part}" for part in parts if part), "dim")
        lines = [_cut(title, width)]
        # What it is at the moment may be long: a command to go on with, or an error.
        style = STATUS_STYLES.get(state.status.kind, "bold")
        lines += _wrapped(Text(state.status.text, style), width, most)
        if state.step is not None:
            lines.append(_cut(_progress(state, width), width))
        for game in state.games:
            style = "bold"
            if game.diagnosis is not None and game.diagnosis.rows:
                style = SEVERITY_STYLES[game.diagnosis.findings[0].severity]
            words = Text(game_verdict(game.title, game.diagnosis), style)
            lines += _wrapped(words, width, most)
        return lines

    def _charts(self, width: int) -> list[Text]:
        """The curves of all games, most telling first."""
        several = len(self._state.games) > 1
        # By curve, then by game; what several D's have in common, as G's loss, is shown once.
        found: dict[str, dict[bytes, tuple[str, np.ndarray]]] = {title: {} for _, title in SHOWN}
        for game in self._state.games:
            for title, _, values in shown_series(game.whole):
                name = f"{game.title}: {title}" if several else title
                found[title].setdefault(values.tobytes(), (name, values))
        titled = [one for alike in found.values() for one in alike.values()]
        longest = max((len(title) for title, _ in titled), default=0)
        names = min(max(LEAST_TITLE, width // 4), longest)
        return [_chart(title, values, names, width) for title, values in titled]

    def _shown(self) -> list[tuple[Game, Finding]]:
        """The findings of all games, worst first."""
        found = [(game, finding) for game in self._state.games for finding in game.shown_findings()]
        return sorted(found, key=lambda one: SEVERITIES.index(one[1].severity))

    def _findings(self, width: int, height: int | None) -> list[Text]:
        several = len(self._state.games) > 1
        lines = []
        for game, finding in self._shown():
            lead = f"{game.title}: " if several else ""
            lines += _finding(game, finding, lead, width, height is None)
        return lines

    def _fitting(self, lines: list[Text], room: int) -> list[Text]:
        """The first lines, and which findings there are where not all fit."""
        if len(lines) <= room or room < 1:
            return lines[: max(0, room)]
        ids = [finding.id for _, finding in self._shown()]
        return [*lines[: room - 1], Text(f"{len(ids)} findings: {', '.join(ids)}", "dim")]

    def _facts(self, width: int, height: int | None) -> list[Text]:
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
        for event in events[-1:] if height is not None else events:
            known.append(("event", f"{event.clock} step {event.step}: {event.message}".lstrip()))
        lines = []
        for label, words in known:
            parts = _wrapped(Text(words), width - LABEL_WIDTH, None if height is None else 1)
            for place, part in enumerate(parts):
                lead = f"{label if place == 0 else '':<{LABEL_WIDTH}}"
                lines.append(Text().append(lead, "dim").append_text(part))
        return lines


def _finding(game: Game, finding: Finding, lead: str, width: int, whole: bool) -> list[Text]:
    title = Text().append(f"{finding.severity} ", SEVERITY_STYLES[finding.severity])
    title.append(f"{lead}{finding.title} ", "bold")
    title.append(
        f"[{finding.id}] {game.since(finding)}, confidence {finding.confidence:.0%}",
        "dim",
    )
    lines = _wrapped(title, width, None if whole else 2)
    if whole:
        for item in finding.evidence:
            lines += _indented(Text(f"- {item.text}", "dim"), 4, width, None)
    if finding.remedies and finding.severity in PROBLEMS:
        remedy = finding.remedies[0]
        lines += _indented(Text(f"change first: {remedy.text}"), 2, width, None if whole else 2)
        how = game.remedy_how(finding)
        if how and whole:
            lines += _indented(Text(how, "cyan"), 4, width, None)
    return lines


def _progress(state: State, width: int) -> Text:
    text = Text(state.progress)
    if state.planned_steps and not state.unread_bytes:
        share = min(1.0, (state.step or 0) / state.planned_steps)
        text.append(f"  {share:.0%} ")
        bar = min(60, width - text.cell_len)
        done = round(share * bar)
        text.append("━" * done, "cyan").append("━" * (bar - done), "bright_black")
    return text


def _chart(title: str, values: np.ndarray, names: int, width: int) -> Text:
    """A curve in a line: its name, where it is now, and from where to where it goes."""
    latest = f"{number(float(values[-1])):>{LATEST_WIDTH}}"
    least, most = number(float(values.min())), number(float(values.max()))
    short = title if len(title) <= names else f"{title[: names - 1]}…"
    line = Text(f"{short:<{names}} ")
    room = max(8, width - names - 1 - LATEST_WIDTH - RANGE_WIDTH)
    line.append(f"{sparkline(values, room):<{room}}", "cyan")
    return line.append(latest, "bold").append(f"  {least} to {most}", "dim")


def _line(text: str, style: str, width: int) -> Text:
    return _cut(Text(text, style), width)


def printable(text: str) -> str:
    """A text as it may be sent to a terminal: what a log has of control characters is none."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def _cut(text: Text, width: int) -> Text:
    text.plain = printable(text.plain)
    text.truncate(max(1, width), overflow="ellipsis")
    text.no_wrap = True
    return text


_MEASURE = Console(width=80, quiet=True)


def _wrapped(text: Text, width: int, most: int | None) -> list[Text]:
    """A text in lines of at most `width`; the last of at most `most` lines ends in an ellipsis."""
    text.plain = printable(text.plain)
    lines = list(text.wrap(_MEASURE, max(1, width)))
    for line in lines:
        line.rstrip()
    if most is not None and len(lines) > most:
        lines = lines[:most]
        lines[-1].append(" ...")
    return [_cut(line, width) for line in lines]


def _indented(text: Text, indent: int, width: int, most: int | None) -> Iterator[Text]:
    for line in _wrapped(text, width - indent, most):
        yield Text(" " * indent).append_text(line)
