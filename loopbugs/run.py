"""Runs every loop with Balance around it, and prints what its loop check finds and what it costs.

    python loopbugs/run.py                          # the half that is here
    python loopbugs/run.py --extra FOLDER           # and loops of another folder, as the held half
    python loopbugs/run.py --only dcgan --details   # what is said of one loop

A bug is found where a code of its `accept` is among the codes that the loop check or the diagnosis
gives. An alarm is any other code of the loop check in a loop that is correct or fixed, or of the
diagnosis where it is severe or a warning, unless the loop allows it. Every correct or fixed loop
is also run without Balance: its weights at the end must be the same to the bit.
"""

import argparse
import importlib.util
import inspect
import json
import logging
import math
import statistics
import sys
import time
import traceback
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))

from loopbugs import common  # noqa: E402  found from here on

PROBLEMS = ("severe", "warning")


@dataclass
class Result:
    """One run of a loop. `bug` is None for a loop that is correct, or its fixed form.

    found_after_turns: None where the bug was not found, or there is none. The diagnosis is asked
    at the end, so what it alone finds counts as found after all turns.
    checks, diagnosis: codes of the loop check, and of the diagnosis' problems.
    line_in_loop: whether the loop check named a line of the loop with what was found.
    equal: whether weights are those of the run without Balance; None where that was not asked.
    """

    half: str
    loop: str
    bug: str | None
    kind: str
    accept: list[str] = field(default_factory=list)
    checks: list[str] = field(default_factory=list)
    diagnosis: list[str] = field(default_factory=list)
    found_after_turns: int | None = None
    line_in_loop: bool | None = None
    alarms: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    error: str = ""
    equal: bool | None = None
    seconds: float = 0.0


class Warned(logging.Handler):
    """Keeps what the logger "counterpoise" warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def load(folder: Path) -> list[common.Loop]:
    """The loops of the modules in a folder, in order."""
    before = len(common.LOOPS)
    for path in sorted(folder.glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"loopbugs_{folder.name}_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return common.LOOPS[before:]


def same(one: common.Run, other: common.Run) -> bool:
    """Whether all weights and buffers of two runs are equal to the bit."""
    return all(
        torch.equal(tensor, other.networks[name].state_dict()[key])
        for name, network in one.networks.items()
        for key, tensor in network.state_dict().items()
    )


def inside(loop: common.Loop, line: str) -> bool:
    """Whether "file:number" is a line of the loop."""
    name, _, number = line.rpartition(":")
    code, first = inspect.getsourcelines(loop.train)
    file = Path(inspect.getfile(loop.train)).name
    return Path(name).name == file and first <= int(number) < first + len(code)


def diagnosed(run: common.Run) -> tuple[set[str], set[str]]:
    """Codes of the diagnosis of every D, and of those the severe ones and warnings."""
    findings = []
    for names in [(name,) for name in run.balance.actions if name] or [()]:
        findings += run.balance.diagnosis(*names).findings
    return {one.id for one in findings}, {one.id for one in findings if one.severity in PROBLEMS}


def judge(half: str, loop: common.Loop, bug: common.Bug | None, turns: int | None) -> Result:
    """Runs one form of a loop, with Balance, and without where the loop is right."""
    count = turns or (bug.turns if bug else loop.turns)
    result = Result(half, loop.name, bug.name if bug else None, bug.kind if bug else "correct")
    logger, warned = logging.getLogger("counterpoise"), Warned()
    logger.addHandler(warned)
    start = time.perf_counter()
    torch.manual_seed(0)
    run = common.Run(count, balanced=True, looked_for=bug.accept if bug else frozenset())
    every: set[str] = set()
    problems: set[str] = set()
    try:
        loop.train(run, result.bug)
        run.close()
        every, problems = diagnosed(run)
    except Exception:
        result.error = traceback.format_exc(limit=-3)
    result.seconds = time.perf_counter() - start
    logger.removeHandler(warned)
    result.warned = warned.messages
    result.checks, result.diagnosis = sorted(run.found), sorted(problems)
    if bug:
        result.accept = sorted(bug.accept)
        hits = [turn for code, turn in run.found.items() if code in bug.accept]
        hits += [count] if every & bug.accept else []
        result.found_after_turns = min(hits, default=None)
        lines = [line for code, line in run.lines.items() if code in bug.accept]
        result.line_in_loop = any(inside(loop, line) for line in lines) if lines else None
        return result
    result.alarms = sorted((set(run.found) | problems) - loop.allow)
    torch.manual_seed(0)
    bare = common.Run(count, balanced=False)
    loop.train(bare, None)
    result.equal = None if result.error else same(run, bare)
    return result


def shares(results: Iterable[Result]) -> dict[str, Any]:
    """The figures of a set of results."""
    bugs = [one for one in results if one.bug]
    right = [one for one in results if not one.bug]
    found = [one for one in bugs if one.found_after_turns is not None]
    alarmed = [one for one in right if one.alarms]
    by_check = [one for one in right if set(one.alarms) & set(one.checks)]
    turns = [one.found_after_turns for one in found if one.found_after_turns is not None]
    return {
        "bugs": len(bugs),
        "found": len(found),
        "line_in_loop": sum(one.line_in_loop is True for one in found),
        "recall": len(found) / len(bugs) if bugs else math.nan,
        "right_loops": len(right),
        "alarmed": len(alarmed),
        "alarmed_by_loop_check": len(by_check),
        "precision": len(found) / max(1, len(found) + len(alarmed)),
        "turns_until_found": statistics.median(turns) if turns else math.nan,
        "exceptions_in_right_loops": sum(bool(one.error) for one in right),
        "exceptions_in_buggy_loops": sum(bool(one.error) for one in bugs),
        "equal_to_the_bit": sum(one.equal is True for one in right),
        "warned": sum(bool(one.warned) for one in right),
        "seconds": round(sum(one.seconds for one in [*bugs, *right]), 2),
    }


HALF = """
{half}: {found} of {bugs} bugs found, recall {recall:.2f}, precision {precision:.2f}
  buggy loops: found in {turns_until_found:g} turns (median), {line_in_loop} with a line of the
    loop; {exceptions_in_buggy_loops} stopped
  right loops: {alarmed} of {right_loops} with an alarm, {alarmed_by_loop_check} of the loop check;
    {equal_to_the_bit} equal to the bit, {exceptions_in_right_loops} stopped, {warned} warned of
  {seconds} s; found by kind:"""


def show(results: list[Result], *, details: bool) -> None:
    """Prints the figures of each half, and of each kind."""
    for half in sorted({one.half for one in results}, reverse=True):
        mine = [one for one in results if one.half == half]
        print(HALF.format(half=half, **shares(mine)))
        for kind in sorted({one.kind for one in mine} - {"correct"}):
            some = [one for one in mine if one.kind == kind]
            hits = [one for one in some if one.found_after_turns is not None]
            print(f"    {kind:28} {len(hits)} of {len(some)}")
    for one in results if details else ():
        said = ", ".join([*one.checks, *(f"({code})" for code in one.diagnosis)]) or "nothing"
        verdict = "found" if one.found_after_turns else "missed" if one.bug else "right"
        verdict = "ALARM" if one.alarms else "STOPPED" if one.error else verdict
        verdict = "UNEQUAL" if one.equal is False else verdict
        print(f"{one.half:5} {verdict:8} {one.loop}: {one.bug or 'correct'}; said: {said}")
        for text in [*one.warned, *one.error.splitlines()]:
            print(f"        {text}")


def main(arguments: list[str] | None = None) -> list[Result]:
    """Runs what the command line asks for, and prints it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--half", choices=("seen", "held"), help="only this half")
    parser.add_argument("--extra", type=Path, metavar="FOLDER", help="of the held half")
    parser.add_argument("--turns", type=int, help="in place of what each case declares")
    parser.add_argument("--only", default="", metavar="TEXT", help="loops whose name has it")
    parser.add_argument("--details", action="store_true", help="a line for each run")
    parser.add_argument("--json", action="store_true", help="every result, as JSON")
    options = parser.parse_args(arguments)
    if options.extra is not None and not any(options.extra.glob("*.py")):
        parser.error(f"--extra {options.extra}: no loops there; give a folder of .py files")
    if options.half == "held" and options.extra is None:
        parser.error("--half held: these loops are not here; say where with --extra FOLDER")
    folders = {"seen": FOLDER / "seen", "held": options.extra}
    results = []
    for half, folder in folders.items():
        if folder is None or options.half not in (None, half):
            continue
        for loop in load(folder):
            if options.only in loop.name:
                forms = [None, *loop.bugs]
                results += [judge(half, loop, bug, options.turns) for bug in forms]
    if not results:
        parser.error(f"--only {options.only}: no loop has that in its name")
    if options.json:
        print(json.dumps([asdict(one) for one in results], indent=1))
    else:
        show(results, details=options.details)
    return results


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.getLogger("counterpoise").propagate = False
    warnings.simplefilter("ignore")
    main()
