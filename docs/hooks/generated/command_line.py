"""The reference of the command line, from the verbs' own declarations."""

import argparse

from counterpoise.cli import VERBS, WHAT, Parser
from generated import Pages
from generated.markdown import code, table


def pages() -> Pages:
    """One page with every verb, its arguments and options."""
    summaries = [
        (f"[`counterpoise {verb}`](#{_anchor(verb)})", VERBS[verb]["help"].partition("\n\n")[0])
        for verb in VERBS
    ]
    parts = [
        "# Command line",
        f"`counterpoise --help` and `counterpoise VERB --help` say the same. {WHAT}",
        "**Exit codes**: 0 done (`diagnose`: healthy); 1 the training diverged, or `diagnose` "
        "found problems; 2 bad input, in one line; 3 `diagnose` cannot judge; 130 interrupted.",
        table(("verb", "what it does"), summaries),
        *map(_section, VERBS),
    ]
    return {"reference/command-line.md": "\n\n".join(parts) + "\n"}


def _anchor(verb: str) -> str:
    return f"counterpoise {verb}".replace(" ", "-")


def _section(verb: str) -> str:
    parser = Parser(verb)
    usage = parser.format_usage().removeprefix("usage: ")
    rows = [
        (code(_name(action)), (action.help or "") + _default(action.default))
        for action in parser._actions
        if "--help" not in action.option_strings
    ]
    parts = [
        f"## counterpoise {verb}",
        VERBS[verb]["help"],
        f"```text\n{' '.join(usage.split())}\n```",
    ]
    if rows:
        parts.append(table(("argument or option", "meaning"), rows))
    return "\n\n".join(parts)


def _name(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else str(action.metavar)
    return f"{', '.join(action.option_strings)} {value}".strip()


def _default(value: object) -> str:
    is_said = isinstance(value, str | int) and not isinstance(value, bool)
    return f" Default: {value}." if is_said else ""
