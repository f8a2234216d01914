"""A watched training in the terminal: how far it is, then what `diagnose` says, in its words."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from counterpoise.commands.curves import curves
from counterpoise.commands.diagnosis import COLOURS
from counterpoise.diagnosis import wording
from counterpoise.diagnosis.wording import Said
from counterpoise.run_folder import CLOSED, DIVERGED, ENDED, FAILED
from counterpoise.run_status import RUNNING, STARTING, UNREADABLE
from counterpoise.watching.state import FINDING, JudgedTraining, State

# How a status is coloured; those that are not here as a warning is.
STATUS_KINDS = {RUNNING: "healthy", STARTING: "strong", ENDED: "strong", CLOSED: "strong"}
STATUS_KINDS |= dict.fromkeys((UNREADABLE, DIVERGED, FAILED), "severe")


def screen(state: State, width: int) -> str:
    """A state, for a terminal of so many columns, with ANSI codes."""
    judged = (_judged(game) for game in state.games)
    parts = _head(state), *judged, _facts(state), _curves(state.games, width)
    return wording.rendered(parts, width, COLOURS)


def _head(state: State) -> Iterator[Said]:
    named = [f"{name} {what}" for name in ("stage", "policy") if (what := getattr(state, name))]
    yield Said("  ".join([state.source, *named]), "line")
    if state.status is not None:
        yield Said(state.status.text, STATUS_KINDS.get(state.status.kind, "warning"))
    if state.step is not None:
        yield Said(state.progress)


def _judged(game: JudgedTraining) -> Iterator[Said]:
    """The answer, what to do first, and the evidence."""
    found = game.diagnosis
    yield Said(wording.verdict(found, game.title), game.severity)
    if found and found.rows:
        yield from wording.advice(found, game.whole.is_own_training)
        yield from wording.evidence(found)


def _curves(games: Sequence[JudgedTraining], width: int) -> Iterator[Said]:
    """The curves of all games, most telling first; what all have in common, as G's loss, once."""
    titles = max((len(game.title) for game in games), default=0)
    room = width - titles
    each = (curves(game.whole, None, room, ends=True) for game in games)
    for alike in zip_longest(*each, fillvalue=Said("")):
        if len(set(alike)) == 1:
            yield alike[0]
            continue
        for game, curve in zip(games, alike, strict=True):
            lead = f"{game.title}:".ljust(titles + 1)
            yield Said(curve.text and f"{lead} {curve.text}", "line")


def _facts(state: State) -> Iterator[Said]:
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
    yield from (Said(f"{label}: {words}", "soft") for label, words in known)
