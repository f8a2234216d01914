"""The command line's `study`: which balance strategy survives which trouble."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from counterpoise.errors import UserError

app = typer.Typer(
    help="Compare balance strategies under stress, with seeds and intervals.", no_args_is_help=True
)
console = Console()


@app.command()
def run(
    plan: Annotated[str, typer.Option(help="quick, full or seed, or a YAML file.")] = "quick",
    out: Annotated[
        Path | None, typer.Option(help="Where to write; default runs/study-PLAN.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override, e.g. seeds=[0,1,2]."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: one per usable core.")
    ] = None,
    executor: Annotated[
        str, typer.Option(metavar="local|ray", help="Processes of this machine, or a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster's address; default: one of this machine.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Only cells TASK/STRESSOR/STRATEGY/SEED that match."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and how many cells are missing.")
    ] = False,
) -> None:
    """Play the cells of a plan; an interrupted study goes on with the same command.

    Exit code 0: all done; 1: some cells ended in an error of the program; 2: bad input, full disk.
    """
    from counterpoise.commands import study

    if executor not in ("local", "ray"):
        raise UserError(f"--executor: local or ray (given: {executor})")
    if address is not None and executor != "ray":
        raise UserError("--address is for --executor ray")
    sys.exit(
        study.run(
            plan, overrides or [], out, workers, executor, address, only or [], dry_run, console
        )
    )


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="The folder of a study.")]) -> None:
    """Turn a study's results into report.md and a picture."""
    from counterpoise.commands import study

    study.report(folder, console)
