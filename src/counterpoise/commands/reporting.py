"""`report` behind the command line."""

from collections.abc import Sequence
from pathlib import Path

from counterpoise.commands.console import say
from counterpoise.errors import UserError
from counterpoise.pages.page import page, read_runs
from counterpoise.pages.run import PageRun
from counterpoise.plain_files import write_text
from counterpoise.run_folder import RunFolder


def run(run: Sequence[Path], out: Path | None) -> None:
    """Write the page of one run into its folder, that of several where you say."""
    if out is None and len(run) > 1:
        raise UserError("a page of several runs: say where, e.g. --out compared.html")
    for log in filter(Path.is_file, run):
        instead = f"counterpoise diagnose {log} --html PAGE"
        raise UserError(f"{log}: not a run folder; the page of a log: {instead}")
    path = out or RunFolder(run[0]).report
    if path.is_dir():
        raise UserError(f"{path}: a folder; give a file, e.g. --out {path / 'report.html'}")
    found = read_runs(run)
    write_text(path, page(found))
    for one in found:
        lead = "" if len(found) == 1 else f"{one.name}: "
        say(lead + _verdict(one))
    say(f"report: {path}")


def _verdict(run: PageRun) -> str:
    return " ".join(sentence for sentence, _ in run.verdicts)


def write_at_end(run_folder: RunFolder) -> None:
    """Write the report of a training that has just ended, and say its verdict; a failure is one
    line, no more."""
    try:
        (found,) = read_runs([run_folder.path])
        write_text(run_folder.report, page([found]))
        line = f"{'report':<12} {run_folder.report}\nVerdict: {_verdict(found)}"
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        line = f"no report: {reason}; try again with: counterpoise report {run_folder.path}"
    say(line)
