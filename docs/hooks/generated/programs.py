"""The programs whose logs people post, from their table."""

from counterpoise.objectives import OBJECTIVES
from counterpoise.programs import PROGRAMS
from generated import Pages
from generated.markdown import code, table


def pages() -> Pages:
    """One page with a row for each program, and what is normal there."""
    rows = [
        (
            f"[{program.title}](#{name})",
            code(name),
            ", ".join(OBJECTIVES[each].title for each in program.objectives if each in OBJECTIVES)
            or "not known, or none",
            str(program.discriminators),
            "mean" if program.d_loss_is_mean else "sum",
            "late" if program.d_starts_late else "at once",
        )
        for name, program in PROGRAMS.items()
    ]
    parts = [
        "# Programs",
        "What `counterpoise diagnose` knows of the programs whose logs people post. Where the "
        "layout of a log does not tell which it is of, say it: `--program hifi-gan`. A row is "
        "where the weighing of objectives begins; the numbers of the log have the last word.",
        table(("program", "name", "objectives, likeliest first", "D's", "halves", "D"), rows),
    ]
    for name, program in PROGRAMS.items():
        parts.append(f"## {name}\n\n{program.title}. {program.normal}\n\nRead in {program.source}.")
    return {"reference/programs.md": "\n\n".join(parts) + "\n"}
