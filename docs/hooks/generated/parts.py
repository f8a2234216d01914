"""Parts of hand-written pages, by the names of their blocks (see write.py)."""

import ast
import difflib
import textwrap
from collections.abc import Callable

from counterpoise.diagnosis.loop_bugs import LOOP_BUGS
from counterpoise.evaluate.measures import MEASURES
from counterpoise.logs.formats import FORMATS
from counterpoise.logs.names import SPELLINGS
from generated import ROOT
from generated.layers import picture, unit_list
from generated.markdown import code, fence, table
from generated.study import question_changes


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
    step = fence(textwrap.dedent(text[text.index("    train_d = False") :]), "python")
    return f"<!-- test: compile -->\n{step}"


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


def recipes() -> str:
    """The lines to add to other people's trainers, from loops in their shape."""
    blocks = []
    for path in sorted((ROOT / "examples" / "trainers").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        title, _, rest = (ast.get_docstring(ast.parse(text)) or "").partition(":")
        lines = text.splitlines()
        if any(line.endswith("# +") for line in lines):
            lines = [line for line in lines if "import counterpoise" not in line]
            before = [line for line in lines if not line.endswith("# +")]
            after = [line.removesuffix("# +").rstrip() for line in lines]
            diff = list(difflib.unified_diff(before, after, n=1, lineterm=""))[3:]
            shown = "\n".join("..." if line.startswith("@@") else line for line in diff)
            said = f"{rest.strip()} The whole loop: `examples/trainers/{path.name}`."
            said = textwrap.fill(said[0].upper() + said[1:], 118)
            blocks.append(f"## {title}\n\n{said}\n\n{fence(shown, 'diff')}")
    return "\n\n".join(blocks)


PARTS: dict[str, Callable[[], str]] = {
    "loop bugs": loop_bugs,
    "log formats": log_formats,
    "column names": column_names,
    "question loop": question_loop,
    "measures": measures,
    "recipes": recipes,
    "layer picture": picture,
    "layer units": unit_list,
    "question changes": question_changes,
}
