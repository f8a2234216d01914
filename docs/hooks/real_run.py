"""What a log of a real run says of D and G in its second half: a row of `real_runs.toml`.

    PYTHONPATH=src python docs/hooks/real_run.py LOG [--program NAME] [--run N] [--map NAME=COLUMN]

Numbers are as the program prints them; only a loss that is printed as two halves is put together
as the program itself puts it together (`d_loss_is_mean` of `programs.toml`).
"""

import argparse
from pathlib import Path

import numpy as np

from counterpoise.logs.read import read_log
from counterpoise.programs import PROGRAMS, Program
from counterpoise.trace import Trace

# Of the lines: the median, and from where to where eight of ten lie.
PARTS = 0.5, 0.1, 0.9


def columns(trace: Trace, program: Program) -> dict[str, np.ndarray]:
    """D's loss and G's, and D's outputs, by their names in `real_runs.toml`."""
    halves = trace.get("d_loss_real") + trace.get("d_loss_fake")
    halves = halves / 2 if program.d_loss_is_mean else halves
    return {
        "d_loss": trace.get("d_loss") if trace.has("d_loss") else halves,
        "g_loss": trace.first("g_adversarial", "g_loss"),
        "d_real": trace.get("d_real"),
        "d_fake": trace.first("d_fake_before", "d_fake_after"),
    }


def row(trace: Trace, program: Program) -> str:
    """The lines of TOML that can be computed."""
    late = slice(len(trace) // 2, None)
    lines = [f"lines = {len(trace)}", f"last_step = {trace.steps[-1]}"]
    for name, values in columns(trace, program).items():
        known = values[late][np.isfinite(values[late])]
        parts = [f"{value:.3g}" for value in np.quantile(known, PARTS)] if len(known) else []
        if parts:
            lines.append(f"{name} = " + (f"[{', '.join(parts)}]" if len(trace) > 1 else parts[0]))
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("log", type=Path)
    parser.add_argument("--program", default="", help="where the log does not tell")
    parser.add_argument(
        "--run", type=int, default=0, help="counted from 0, where there are several"
    )
    parser.add_argument("--map", action="append", default=[], help="NAME=COLUMN")
    given = parser.parse_args()
    traces = read_log(given.log, mapping=dict(each.split("=", 1) for each in given.map))
    found = traces[given.run]
    name = given.program or found.program
    print(f"# {name}, run {given.run} of {len(traces)}: {found.title}")
    print(row(found, PROGRAMS[name]))
