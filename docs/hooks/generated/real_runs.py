"""What public runs of the programs printed, from their table: a section of a program's page."""

import tomllib
from collections.abc import Mapping
from typing import Any

from counterpoise.diagnosis.finding import number
from counterpoise.programs import Program
from generated import ROOT
from generated.markdown import code, table

FILE = ROOT / "docs" / "hooks" / "real_runs.toml"
Run = Mapping[str, Any]
RUNS: list[Run] = tomllib.loads(FILE.read_text(encoding="utf-8"))["runs"]
COLUMNS = {"d_loss": "D", "g_loss": "G", "d_real": "D(x)", "d_fake": "D(G(z))"}


def section(program: Program) -> list[str]:
    """The paragraphs on a program's real runs."""
    runs = [run for run in RUNS if run["program"] == program.name]
    if not runs:
        return [
            "## Real runs",
            "None yet: no public log of it was found that is long and that somebody says is good. "
            "A log of one is welcome.",
        ]
    names = {each: title for each, title in COLUMNS.items() if any(each in run for run in runs)}
    return [
        "## Real runs",
        table(
            ("run", "it went well by", "lines", *names.values()),
            [
                (_link(run), run["well"], _lines(run), *(_cell(run, n) for n in names))
                for run in runs
            ],
        ),
        "Not ours: of the second half of each public log, as it prints them, the median, and from "
        f"where to where eight of ten lines lie ({code('python docs/hooks/real_run.py LOG')} makes "
        f"a row of a log, {code('docs/hooks/real_runs.toml')} has them all).",
    ]


def _link(run: Run) -> str:
    of_file = "issue" not in run
    where = f"blob/{run['commit']}/{run['path']}" if of_file else f"issues/{run['issue']}"
    return f"[{run['what']}](https://github.com/{run['source']}/{where})"


def _lines(run: Run) -> str:
    last = f", to step {run['last_step']:,}" if "last_step" in run else ""
    return f"{run['lines']:,}{last}"


def _cell(run: Run, name: str) -> str:
    if name not in run:
        return "not printed"
    median, low, high = run[name] if isinstance(run[name], list) else 3 * [run[name]]
    return number(median) + (f" ({number(low)} to {number(high)})" if low != high else "")
