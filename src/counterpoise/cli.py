"""The command line: each verb calls the library and prints what it returns.

A table of verbs. What a verb needs is imported once it is called, so that `diagnose` and `--help`
answer at once.
"""

import errno
import io
import json
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from inspect import getdoc
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from counterpoise.errors import TrainingDivergedError, UserError, one_line, to_install
from counterpoise.registry import Registry, read_table

if TYPE_CHECKING:
    from rich.console import Console

WHAT = "Train GANs in balance: the EnhanceNet family, with diagnosis and control of D against G."
EXIT_DIVERGED = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141


class Parser(ArgumentParser):
    """Reads the words of one verb; a mistake in them is a `UserError`."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"counterpoise {name}",
            description=help_of(name),
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        table = read_table("counterpoise", "cli.toml")
        for row in table["verbs"][name]:
            known = dict(table["shared"][row] if isinstance(row, str) else row)
            limits = known.pop("least", 1), known.pop("most", sys.maxsize)
            if known.get("type") == "path":
                known["type"] = Path
            elif known.get("type") == "whole":
                known["type"] = _whole(*limits)
            self.add_argument(*known.pop("names"), **known)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (`{self.prog} --help` says what there is)")


def _whole(least: int, most: int) -> Callable[[str], int]:
    """What reads a whole number in a range."""

    def read(text: str) -> int:
        if text.isdecimal() and least <= int(text) <= most:
            return int(text)
        raise ArgumentTypeError(f"a whole number from {least} on (given: {text})")

    return read


def help_of(name: str) -> str:
    """What a verb does."""
    return getdoc(VERBS[name]) or ""


def main() -> None:
    """Run the command line: a user's mistake is one line and exit code 2, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal's encoding lacks becomes "?"
            stream.reconfigure(errors="replace")
    try:
        code = _run(sys.argv[1:])
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
        # Where it is known what was being read or written, a UserError has said so.
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if error.filename is None and not is_full:
            raise
        # Else a path that the system refuses, before anything asked what it is (a long name...).
        what = f"{error.filename}: " if error.filename is not None else ""
        todo = "free some space" if is_full else "give another path"
        _stop(one_line(f"{what}{error.strerror}; {todo}"), EXIT_USER_ERROR)


def _stop(message: str, code: int) -> None:
    # The first process talks, also before the processes have met.
    if os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0":
        print(f"counterpoise: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(code)


def _run(words: Sequence[str]) -> int | None:
    name, rest = split_verb(words)
    group = [verb for verb in VERBS if verb.startswith(f"{name} ".lstrip())]
    if name not in VERBS and group and rest[:1] in ([], ["-h"], ["--help"]):
        lines = [f"  {verb:<16}{help_of(verb).splitlines()[0]}" for verb in group]
        print("\n".join((WHAT, "", "`counterpoise VERB --help` says more.", "", *lines)))  # noqa: T201
        return None
    return VERBS[name](Parser(name).parse_intermixed_args(rest))


def split_verb(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The verb that a command line begins with, of one word or of two ("study run"), and the
    rest."""
    count = 2 if " ".join(words[:2]) in VERBS else 0 if words[:1] in (["-h"], ["--help"]) else 1
    return " ".join(words[:count]), words[count:]


def console() -> "Console":
    """Where verbs with tables and bars print."""
    from rich.console import Console

    return Console()


def train(given: Namespace) -> int:
    """Train a generator: E alone where configured, then G against D."""
    from counterpoise.commands import training

    if (given.preset is None) == (given.config is None):
        raise UserError("give --preset NAME or --config FILE; `counterpoise presets` lists")
    settings = list(given.overrides)
    if given.data:
        settings += [f"data.folders={json.dumps([str(folder) for folder in given.data])}"]
    if given.devices is not None:
        settings += [f"train.devices={given.devices}"]
    source = given.preset if given.preset is not None else str(given.config)
    return training.start(source, settings, given.run_dir, console(), dry_run=given.dry_run)


def resume(given: Namespace) -> int:
    """Go on with an interrupted training from its newest checkpoint."""
    from counterpoise.commands import training

    steps = [] if given.steps is None else [f"train.steps={given.steps}"]
    return training.resume(given.run, [*steps, *given.overrides], console())


def presets(_: Namespace) -> None:
    """List the shipped presets and every choice that has a name."""
    from counterpoise.balance.policies import POLICIES, policy_options
    from counterpoise.commands.console import say
    from counterpoise.config_file import preset_names
    from counterpoise.losses.adversarial import ADVERSARIAL_FORMS
    from counterpoise.models.discriminator import DISCRIMINATORS
    from counterpoise.models.generator import GENERATORS

    choices = {
        "presets": preset_names(),
        "generator.name": GENERATORS,
        "discriminator.name": DISCRIMINATORS,
        "loss.adversarial.form": ADVERSARIAL_FORMS,
    }
    out = console()
    for title, names in choices.items():
        say(out, f"{title}: {', '.join(names)}")
    say(out, "balance.policy, with its balance.options:")
    for name, policy in POLICIES.items():
        options = ", ".join(f"{key}={value}" for key, value in policy_options(policy).items())
        say(out, f"  {name:<17}{options}".rstrip())


def import_weights(given: Namespace) -> None:
    """Turn the authors' published ENet-PAT weights (a TensorFlow V1 checkpoint) into our format."""
    from counterpoise.commands.console import say
    from counterpoise.models.import_weights import (
        OFFICIAL_LICENCE,
        OFFICIAL_SOURCE,
        import_official,
    )

    tensors, parameters = import_official(given.file, given.output)
    what = f"{tensors} tensors, {parameters:,} parameters, from {OFFICIAL_SOURCE}"
    say(console(), f"{given.output}: {what}")
    say(console(), f"Licence of these weights: {OFFICIAL_LICENCE}")


def upscale(given: Namespace) -> None:
    """Upscale pictures: PNG, JPEG, WebP, TIFF; alpha, grey and 16 bits are kept.

    Without weights of your own, by the network that comes with the package.
    """
    from counterpoise.commands import upscaling

    upscaling.run(**vars(given), console=console())


def evaluate(given: Namespace) -> None:
    """Score upscaled images against HR, with plain bicubic beside (a border of the scale cropped).

    PSNR, SSIM, RMSE, sliced Wasserstein distance; LPIPS and NIQE where their weights are at hand.
    --weights, --outputs and --data may be repeated.
    """
    from counterpoise.commands import evaluation

    options = vars(given)
    folders = [*options.pop("data"), *options.pop("set")]
    evaluation.run(console(), folders=folders, **options)


def report(given: Namespace) -> int:
    """Write a run, or several, as one page: verdict, charts, samples, metrics, configuration."""
    from counterpoise.commands import reporting

    return reporting.run(given.run, given.out, console())


def best(given: Namespace) -> None:
    """Say which checkpoint of a run to take.

    Goes by the held-out metrics that the training recorded: the nearest to the lowest distortion
    and the lowest perceptual distance. Writes best.json and generator-best.safetensors.
    """
    from counterpoise.commands import best as command

    command.run(given.run, given.json, console())


def diagnose(given: Namespace) -> int:
    """Say what is wrong with a GAN training, from its log alone, whatever program wrote it.

    Exit code 0: healthy; 1: problems; 2: cannot be read; 3: too little evidence to judge. Of
    several trainings: 2 before 1 before 3.
    """
    from counterpoise.commands import diagnosis, diagnosis_formats

    options = vars(given)
    if options.pop("schema"):
        print(diagnosis_formats.json_schema())  # noqa: T201
        return 0
    if options.pop("json"):
        options["format"] = "json"
    return diagnosis.run(options.pop("log"), **options)


def watch(given: Namespace) -> int:
    """Watch a training as it goes: curves, what is wrong and what to change first. Read-only."""
    from counterpoise.commands import watching

    return watching.run(**vars(given), console=console())


def study_run(given: Namespace) -> int:
    """Play the cells of a plan; an interrupted study goes on with the same command.

    Exit code 0: all done; 1: some cells ended in an error of the program; 2: bad input, full disk.
    """
    from counterpoise.commands import study

    if given.address is not None and given.executor != "ray":
        raise UserError("--address is for --executor ray")
    return study.run(**vars(given), console=console())


def study_report(given: Namespace) -> None:
    """Turn a study's results into report.md."""
    from counterpoise.commands import study

    study.report(given.folder, console())


VERBS: Registry[Callable[[Namespace], int | None]] = Registry(
    "verb",
    ("train", train),
    ("resume", resume),
    ("presets", presets),
    ("import-weights", import_weights),
    ("upscale", upscale),
    ("evaluate", evaluate),
    ("report", report),
    ("best", best),
    ("diagnose", diagnose),
    ("watch", watch),
    ("study run", study_run),
    ("study report", study_report),
)
