"""The command line: the verbs of `cli.toml`, each with the function of `commands` that it calls.

That is imported once the verb is called, so that `diagnose` and `--help` answer at once.
"""

import errno
import io
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from counterpoise.errors import TrainingDivergedError, UserError, one_line, to_install
from counterpoise.registry import Registry, read_table

WHAT = "Find out why a GAN training fails, keep D and G in balance, train 4x super-resolution."
HELP = ["-h"], ["--help"], ["help"]
EXIT_DIVERGED = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141

_TABLE = read_table("counterpoise", "cli.toml")
VERBS: Registry[dict[str, Any]] = Registry("verb", *_TABLE["verbs"].items())


class Parser(ArgumentParser):
    """Reads the words of one verb; a mistake in them is a `UserError`."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"counterpoise {name}",
            description=VERBS[name]["help"],
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        add_arguments(self, name)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (`{self.prog} --help` says what there is)")


def add_arguments(parser: ArgumentParser, verb: str) -> None:
    """Give a parser what a verb takes."""
    for row in VERBS[verb]["takes"]:
        known = dict(_TABLE["shared"][row] if isinstance(row, str) else row)
        limits = known.pop("least", 1), known.pop("most", sys.maxsize)
        if known.get("type") == "path":
            known["type"] = Path
        elif known.get("type") == "whole":
            known["type"] = partial(_whole, *limits)
        parser.add_argument(*known.pop("names"), **known)


def _whole(least: int, most: int, text: str) -> int:
    if text.isdecimal() and least <= int(text) <= most:
        return int(text)
    limit = "on" if most == sys.maxsize else f"to {most}"
    raise ArgumentTypeError(f"a whole number from {least} {limit} (given: {text})")


def main() -> None:
    """Run the command line: a user's mistake is one line and exit code 2, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal's encoding lacks becomes "?"
            stream.reconfigure(errors="replace")
    try:
        code = _run(sys.argv[1:]) or 0
        sys.stdout.flush()
        sys.exit(code)
    except BrokenPipeError:  # Whoever reads the output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_PIPE_CLOSED)
    except UserError as error:
        _stop(str(error), EXIT_USER_ERROR)
    except TrainingDivergedError as error:
        _stop(f"training diverged: {error}", EXIT_DIVERGED)
    except KeyboardInterrupt:
        _stop("interrupted", EXIT_INTERRUPTED)
    except ModuleNotFoundError as error:
        if not (advice := to_install(error)):
            raise
        _stop(advice, EXIT_USER_ERROR)
    except OSError as error:
        # A path that the system refuses before anything asked what it is (a long name...), a full
        # disk: where it is known what was being written, a UserError has said so.
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        what = f"{error.filename or 'the disk'}: {error.strerror}"
        _stop(one_line(f"{what}; give another path, or free some space"), EXIT_USER_ERROR)


def _stop(message: str, code: int) -> None:
    # The first process talks, also before the processes have met.
    if os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0":
        print(f"counterpoise: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(code)


def _run(words: Sequence[str]) -> int | None:
    if words[:1] == ["--version"]:
        from counterpoise.run_folder import version  # Slow, and for nothing else.

        print(f"counterpoise {version('counterpoise')}")  # noqa: T201
        return None
    if words[:1] == ["--print-completion"]:
        print(_completion_script(*words[1:2]))  # noqa: T201
        return None
    name, rest = split_verb(words)
    group = [verb for verb in VERBS if verb.startswith(f"{name} ".lstrip())]
    if name not in VERBS and group and rest[:1] in ([], *HELP):
        lines = [f"  {verb:<16}{VERBS[verb]['help'].splitlines()[0]}" for verb in group]
        print("\n".join((WHAT, "", "`counterpoise VERB --help` says more.", "", *lines)))  # noqa: T201
        return None
    given = vars(Parser(name).parse_intermixed_args(rest))
    module, _, function = VERBS[name]["does"].partition(".")
    code: int | None = getattr(import_module(f"counterpoise.commands.{module}"), function)(**given)
    return code


def split_verb(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The verb that a command line begins with, of one word or two ("study run"), and the rest."""
    count = 2 if " ".join(words[:2]) in VERBS else 0 if words[:1] in HELP else 1
    return " ".join(words[:count]), words[count:]


def _completion_script(shell: str = "") -> str:
    """What a shell needs to complete verbs, options and files."""
    import shtab  # for nothing else

    if shell not in shtab.SUPPORTED_SHELLS:
        known = ", ".join(shtab.SUPPORTED_SHELLS)
        raise UserError(f"--print-completion takes a shell's name: {known}")
    parser = ArgumentParser("counterpoise")
    groups = {"": parser.add_subparsers()}
    for verb, row in VERBS.items():
        group, _, name = verb.rpartition(" ")
        if group not in groups:
            groups[group] = groups[""].add_parser(group, help=group).add_subparsers()
        own = groups[group].add_parser(name, help=row["help"].splitlines()[0])
        add_arguments(own, verb)
        for action in own._actions:
            if action.type is Path:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    return shtab.complete(parser, shell)
