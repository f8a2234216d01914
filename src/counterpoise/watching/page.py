"""The page of a watched training: whole, and in parts that are sent when they change."""

import secrets
import time
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from counterpoise.diagnosis.finding import PROBLEMS
from counterpoise.diagnosis.found import number
from counterpoise.pages.svg_chart import line_chart
from counterpoise.run_folder import SHEET_COLUMNS
from counterpoise.watching.curves import curves
from counterpoise.watching.judge import REST
from counterpoise.watching.state import Game, State, facts
from counterpoise.watching.words import game_verdict, remedy_how, shown_findings, since

# Parts of the page, by the id of their element.
PARTS = ("name", "status", "progress", "verdict", "charts", "findings", "sample", "facts")
SHOWN_EVENTS = 12
# Charts that are there at once; the others unfold.
FIRST_CHARTS = 6


class Page:
    """Renders states; everything that comes from a log or a file name is escaped."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        text = (files("counterpoise.watching") / "watch.html").read_text(encoding="utf-8")
        self._macros: Any = environment.from_string(text).module
        self._clock = clock
        # Charts cost most: they are drawn when there is something new, with a rest in between.
        self._charted: tuple[Game, ...] = ()
        self._charts: list[tuple[str, str, Markup]] = []
        self._rests_until = 0.0

    def parts(self, state: State) -> dict[str, str]:
        """The parts of the page, HTML by the id of the element that they are inside of."""
        view = _View(state, self._drawn(state.games))
        return {part: str(getattr(self._macros, part)(view)).strip() for part in PARTS}

    def whole(self, parts: dict[str, str]) -> tuple[str, str]:
        """The page with these parts in it, and the nonce of its script and style."""
        nonce = secrets.token_urlsafe(16)
        marked = {part: Markup(html) for part, html in parts.items()}  # noqa: S704, rendered above
        return str(self._macros.page(marked, nonce)).strip(), nonce

    def _drawn(self, games: tuple[Game, ...]) -> list[tuple[str, str, Markup]]:
        began = self._clock()
        if games is not self._charted and (began >= self._rests_until or not games):
            self._charted = games
            self._charts = [
                (
                    f"{game.title}: {curve.title}" if len(games) > 1 else curve.title,
                    number(float(curve.values[-1])),
                    Markup(  # noqa: S704, it escapes
                        line_chart(
                            curve.title,
                            curve.steps,
                            curve.values,
                            game.diagnosis.problems if game.diagnosis is not None else (),
                        )
                    ),
                )
                for game in games
                for curve in curves(game.whole)
            ]
            ended = self._clock()
            self._rests_until = ended + REST * (ended - began)
        return self._charts


class _View:
    """What the template shows of a state."""

    def __init__(self, state: State, charts: list[tuple[str, str, Markup]]) -> None:
        self.state, self.charts = state, charts
        several = len(state.games) > 1
        self.first_charts = FIRST_CHARTS
        self.sheet_columns = ", ".join(SHEET_COLUMNS)
        self.verdicts: list[tuple[str, str]] = []
        self.findings: list[dict[str, Any]] = []
        for game in state.games:
            diagnosis = game.diagnosis
            if diagnosis is None or not diagnosis.rows:
                self.verdicts.append((game_verdict(game.title, diagnosis), ""))
                continue
            worst = diagnosis.findings[0].severity
            self.verdicts.append((game_verdict(game.title, diagnosis), worst))
            for finding in shown_findings(diagnosis):
                is_problem = finding.severity in PROBLEMS
                self.findings.append(
                    {
                        "finding": finding,
                        "lead": f"{game.title}: " if several else "",
                        "since": since(finding, diagnosis, game.goes_back),
                        "how": remedy_how(finding, game.whole.policy) if is_problem else "",
                    }
                )
        self.shades = any("<rect" in chart for _, _, chart in charts)
        self.facts = facts(state)
        self.events = [(e.clock, e) for e in reversed(state.events[-SHOWN_EVENTS:])]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.state, name)
