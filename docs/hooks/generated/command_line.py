"""The reference of the command line, from the verbs' own declarations."""

from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from counterpoise.cli import app
from generated import Pages
from generated.markdown import code, table


def pages(program: typer.Typer = app) -> Pages:
    """One page with every verb, its arguments and options."""
    command = typer.main.get_command(program)
    parts = [
        "# Command line",
        f"`counterpoise --help` and `counterpoise VERB --help` say the same. {_help(command)}",
        "**Exit codes**: 0 done (`diagnose`: healthy); 1 the training diverged, or `diagnose` "
        "found problems; 2 bad input, in one line; 3 `diagnose` cannot judge; 130 interrupted.",
        table(
            ("verb", "what it does"),
            [
                (f"[`{path}`](#{path.replace(' ', '-')})", _help(verb).partition("\n\n")[0])
                for path, verb in verbs(command)
            ],
        ),
        *(_section(path, verb) for path, verb in verbs(command)),
    ]
    return {"reference/command-line.md": "\n\n".join(parts) + "\n"}


def verbs(command: Any, path: str = "counterpoise") -> Iterator[tuple[str, TyperCommand]]:
    """Every verb that does something, with its whole name."""
    if not isinstance(command, TyperGroup):
        yield path, command
        return
    for name, verb in command.commands.items():
        if not verb.hidden:
            yield from verbs(verb, f"{path} {name}")


def _help(command: Any) -> str:
    return (command.help or "").strip()


def _section(path: str, command: TyperCommand) -> str:
    context = command.make_context(path, [], resilient_parsing=True)
    usage = command.get_usage(context).removeprefix("Usage: ")
    rows = [_row(parameter, context) for parameter in command.params]
    parts = [f"## {path}", _help(command), f"```text\n{' '.join(usage.split())}\n```"]
    if rows:
        parts.append(table(("argument or option", "meaning"), rows))
    return "\n\n".join(parts)


def _row(parameter: Any, context: Any) -> tuple[str, str]:
    name, meaning = parameter.get_help_record(context)
    # `[default: ...; required]` at the end would be read as a link's text.
    return code(name), meaning.strip().replace("[", "\\[")
