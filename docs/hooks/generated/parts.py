"""Parts of hand-written pages, each put in place of a line `<!-- generated: NAME -->`."""

import textwrap
from collections.abc import Callable

from counterpoise.anyloop.loop_bugs import LOOP_BUGS
from counterpoise.evaluate.measures import MEASURES
from counterpoise.logs.formats import FORMATS
from counterpoise.logs.names import SPELLINGS
from generated import ROOT
from generated.charts import log_charts
from generated.layers import picture, unit_list
from generated.markdown import code, fence, table


def loop_bugs() -> str:
    """What `check=True` finds."""
    rows = [(code(name), bug.meaning, bug.change) for name, bug in LOOP_BUGS.items()]
    return table(("bug", "what is wrong", "what to change"), rows)


def log_formats() -> str:
    """The formats of text lines that are known by a line of theirs."""
    rows = [(code(name), code(" ".join(f.title.split()))) for name, f in FORMATS.items()]
    return table(("format", "a line of it"), rows)


def column_names() -> str:
    """What columns are called here and elsewhere."""
    rows = [(code(name), ", ".join(map(code, known[:6]))) for name, known in SPELLINGS.items()]
    return table(("column", "also known as, among others"), rows)


def question_loop() -> str:
    """One step of the loop that the project began with."""
    text = (ROOT / "examples" / "seed_loop_before.py").read_text(encoding="utf-8")
    return fence(textwrap.dedent(text[text.index("    train_d = False") :]), "python")


def measures() -> str:
    """What `evaluate` can measure."""
    rows = [
        (
            code(m.name),
            m.title,
            "higher" if m.higher_is_better else "lower",
            str(m.least_px) if m.least_px > 1 else "any",
            m.needs or "nothing",
        )
        for m in MEASURES.values()
    ]
    heading = ("metric", "in tables", "better is", "least side, pixels", "needs")
    return table(heading, rows)


PARTS: dict[str, Callable[[], str]] = {
    "loop bugs": loop_bugs,
    "log formats": log_formats,
    "column names": column_names,
    "question loop": question_loop,
    "measures": measures,
    "layer picture": picture,
    "layer units": unit_list,
    "chart bce_epoch1": lambda: log_charts("tests/data/seed/bce_epoch1.log"),
    "chart bce_epoch3": lambda: log_charts("tests/data/seed/bce_epoch3.log"),
    "chart mse_epoch1": lambda: log_charts("tests/data/seed/mse_epoch1.log"),
}
