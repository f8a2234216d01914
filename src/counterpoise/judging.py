"""From a log, or rows of numbers, to its diagnosis: what `counterpoise diagnose` does, in Python.

Needs no PyTorch.
"""

import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from counterpoise.diagnosis.diagnose import diagnose as diagnose_trace
from counterpoise.diagnosis.finding import SEVERITIES, Diagnosis
from counterpoise.errors import UserError
from counterpoise.logs.read import read_log
from counterpoise.trace import Trace

Rows = Sequence[Mapping[str, Any]] | Mapping[str, Any]
# What is called the source of rows, and what the reader calls it.
ROWS, STREAM = "rows", "standard input"


def judge(
    source: Path | IO[str], *, mapping: Mapping[str, str] | None = None, **said: Any
) -> list[tuple[Trace, Diagnosis]]:
    """Every training in a log file, a run folder or a stream of text, with its diagnosis; the
    options are those of `diagnose`. Raises `UserError` where nothing can be read."""
    traces = read_log(source, mapping=mapping, objective=said.get("objective"))
    return [(trace, diagnose_trace(trace, **said)) for trace in traces]


def _plain(value: Any) -> Any:
    """A number, or the numbers of an array."""
    return value.tolist() if hasattr(value, "tolist") else float(value)


def diagnose(
    source: str | Path | IO[str] | Rows,
    *,
    objective: str | None = None,
    mapping: Mapping[str, str] | None = None,
    d_loss_is_mean: bool = False,
    program: str | None = None,
) -> Diagnosis:
    """The diagnosis of a training; `print` it, or go through its `findings`.

    `source` is the path of a log of any program or of a run folder, an open text file, or numbers:
    an object to a step (`[{"step": 1, "d_loss": 1.3}, ...]`) or a list to a name (`{"d_loss": [1.3,
    ...]}`), of any kind that `float` takes. `objective` is any name of `objectives.OBJECTIVES`;
    `mapping` gives our columns (`trace.COLUMNS`) by the log's names; `d_loss_is_mean` says that D's
    loss is the mean of its halves, `program` (of `programs.PROGRAMS`) what printed the log. Of
    several trainings in a log it is the worst one's, and a note says so. Raises `UserError` where
    nothing can be read.
    """
    name = ""
    if isinstance(source, str):
        source = Path(source)
    elif isinstance(source, Mapping | Sequence):
        source, name = io.StringIO(json.dumps(source, default=_plain)), ROWS
    try:
        found = judge(
            source,
            objective=objective,
            mapping=mapping,
            d_loss_is_mean=d_loss_is_mean,
            program=program,
        )
    except UserError as error:
        raise UserError(str(error).replace(STREAM, name or STREAM)) from None
    diagnoses = [diagnosis for _, diagnosis in found]
    worst = min(diagnoses, key=lambda d: SEVERITIES.index(d.findings[0].severity))
    notes = worst.notes
    if len(diagnoses) > 1:
        notes += (f"the worst of {len(diagnoses)} trainings in it: `judging.judge` gives each",)
    return dataclasses.replace(worst, source=name or worst.source, notes=notes)
