"""What a page shows of one training: a run folder, read whole or as it grows, or a log."""

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from counterpoise.balance.policies import POLICIES, policy_options
from counterpoise.best_step import best_checkpoint
from counterpoise.config import RunConfig
from counterpoise.diagnosis.finding import Diagnosis, Finding
from counterpoise.diagnosis.wording import headline, objective_line, verdict
from counterpoise.pages.charts import METRIC, curve_key
from counterpoise.pages.curves import Curves, numbers
from counterpoise.pages.samples import Samples, read_samples
from counterpoise.run_folder import BICUBIC, RunFolder
from counterpoise.run_rows import RunReader
from counterpoise.trace import Trace
from counterpoise.watching.sources import RunSource, WatchOptions
from counterpoise.watching.state import JudgedTraining, State

# A page has at most 10 MB: the chart library takes half of it, the curves about a sixth.
SAMPLE_BYTES = 3_000_000


class PageRun:
    """One training, as a page shows it. Its findings are numbered once it is on a page."""

    first_number = 1  # of its findings on the page

    def __init__(self, state: State, curves: Curves, sample_bytes: int = SAMPLE_BYTES) -> None:
        """`curves` are those of a run, made while its rows were read; a log's are made here."""
        self.name = Path(os.path.realpath(state.source)).name or state.source
        self.state = state
        self.curves = curves
        self.is_own_training = any(game.whole.is_own_training for game in state.games)
        self.notes, self.facts = list(state.notes), list(state.facts)
        self.samples, self.metric_curves = Samples(), Curves()
        self.sample_files = 0  # of which a small page may show some alone
        self.metrics: list[dict[str, Any]] = []
        self.bicubic: dict[str, float] = {}
        self.best_checkpoint: Path | None = None  # the one to take
        self.letters = ""  # of the losses, of a run of ours that this version can read
        self.config_tree: dict[str, Any] = {}
        self.policy_options: dict[str, Any] = {}  # as given, with the defaults of the others
        if state.reader is not None:
            self._read(state.reader, sample_bytes)
        else:
            self.curves.begin()
            for game in state.games:
                self.curves.add_trace(game.whole, game.title)

    def _read(self, reader: RunReader, sample_bytes: int) -> None:
        """Read what only a run of ours has."""
        if not reader.run.signals.is_file():
            self.notes.append("signals.jsonl is not there: nothing to draw, nothing to judge")
        files = tuple(path for path in reader.run.sample_files() if path.exists())
        self.sample_files = len(files)
        changed = tuple(path.stat().st_mtime_ns for path in files)
        self.samples = read_samples(files, changed, sample_bytes)
        self.notes += self.samples.notes
        self.metrics = reader.metrics
        for row in self.metrics:
            step = row.get("step")
            if row.get("stage") == BICUBIC:
                self.bicubic = metrics_of(row)
            elif isinstance(step, int):
                self.metric_curves.add(step, metrics_of(row), METRIC)
        self.config_tree = reader.config
        given = reader.configured("balance", "options")
        if reader.policy is not None and reader.policy in POLICIES:
            self.policy_options = policy_options(POLICIES[reader.policy])
        self.policy_options |= given if isinstance(given, dict) else {}
        if "generator" in reader.config:  # a run of our own training
            with contextlib.suppress(ValidationError):  # of another version
                self.letters = RunConfig.model_validate(reader.config).loss.letters
        seconds = self.curves.curves.get(("", "seconds"))
        facts = {
            "losses": self.letters,
            "batch": reader.configured("train", "batch_size"),
            "seed": reader.configured("train", "seed"),
            "steps on record": f"{reader.signals.rows:,}",
            "seconds per step": seconds and f"{seconds.mean:.3g} (mean)",
        }
        self.facts += [(name, str(fact)) for name, fact in facts.items() if fact not in (None, "")]
        self.best_checkpoint = best_checkpoint(reader.run, self.metrics)

    @property
    def verdicts(self) -> list[tuple[str, str]]:
        """A sentence for each game, or why there is none, and the worst severity in it."""
        if not self.state.games:
            return [("Not judged: it has no step with a discriminator yet.", "unknown")]
        return [(verdict(g.diagnosis, g.title), g.severity) for g in self.state.games]

    @property
    def worst(self) -> str:
        """The worst severity of all findings, "unknown" where there are none."""
        return self.state.findings[0][1].severity if self.state.findings else "unknown"

    @property
    def findings(self) -> list[tuple[int, str, list[tuple[str, Finding]]]]:
        """The findings of all games, worst first, each with its number and its title, and beside
        the names of the Ds that have it (one, "", where there is one D) what was found of each."""
        alike: dict[Any, list[tuple[str, Finding]]] = {}
        for game, one in self.state.findings:
            kind = one.severity, one.title, one.remedies
            alike.setdefault(kind, []).append((game.title, one))
        return [
            (number, curve_key(", ".join(name for name, _ in each), title), each)
            for number, ((_, title, _), each) in enumerate(alike.items(), self.first_number)
        ]

    @property
    def about(self) -> list[str]:
        """The sources of its diagnoses, where it is a log, and their objectives."""
        judged = [game.diagnosis for game in self.state.games if game.diagnosis is not None]
        heads = [headline(d) for d in judged] if self.state.status is None else []
        # Games of one training mostly have the same.
        return [*heads, *dict.fromkeys(objective_line(d) for d in judged if d.rows)]

    @property
    def config_text(self) -> str:
        """The configuration as YAML; "" without one."""
        tree = self.config_tree
        return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True) if tree else ""


def read_run(path: Path, sample_bytes: int = SAMPLE_BYTES) -> PageRun:
    """Read a run folder, and judge all of it. `UserError` where it is none, or its signals cannot
    be read; whatever else is amiss is a note."""
    curves = Curves()
    RunFolder.open(path)
    source = RunSource(path, WatchOptions(judge_all=True, begin=curves.begin))
    source.reader.read_whole()
    return PageRun(source.state(), curves, sample_bytes)


def log_run(source: str, judged: Iterable[tuple[Trace, Diagnosis | None]]) -> PageRun:
    """A log of any program: its traces, each with what was found in it."""
    games = tuple(JudgedTraining(*one) for one in judged)
    notes = dict.fromkeys(note for g in games for note in (g.diagnosis or g.whole).notes)
    state = State(source, games=games, notes=tuple(notes))
    return PageRun(state, Curves())


def metrics_of(row: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a row of `metrics.jsonl`: what is a number in it, but the step."""
    return {name: value for name, value in numbers(row).items() if name != "step"}
