"""The command line: each verb calls the library and prints what it returns.

Heavy imports happen inside the verbs, so that `--help` answers at once.
"""

import errno
import io
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from counterpoise.cli_study import app as study_app
from counterpoise.errors import TrainingDivergedError, UserError, one_line, to_install

app = typer.Typer(
    name="counterpoise",
    help="Train GANs in balance: the EnhanceNet family, with diagnosis and control of D against G.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(study_app, name="study")
console = Console()

EXIT_DIVERGED = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override, e.g. train.batch_size=8."),
]
WeightsOption = typer.Option(help="A generator's weights, or the folder of a run.")
ObjectiveOption = Annotated[str | None, typer.Option(help="Of the losses: bce, lsgan, hinge, ...")]
MappingOption = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="THEIRS=OURS", help="Name a column, e.g. errD=d_loss."),
]
MeanOption = Annotated[
    bool, typer.Option("--d-loss-is-mean", help="D's loss is its halves' mean, not their sum.")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]


def main() -> None:
    """Run the command line: a user's mistake is one line and exit code 2, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal's encoding lacks becomes "?"
            stream.reconfigure(errors="replace")
    try:
        app()
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


@app.command()
def train(
    preset: Annotated[str | None, typer.Option(help="A shipped one; see `presets`.")] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file instead of a preset.")] = None,
    data: Annotated[list[Path] | None, typer.Option(help="Training images; repeatable.")] = None,
    run_dir: Annotated[Path | None, typer.Option(help="Default: runs/PRESET.")] = None,
    devices: Annotated[int | None, typer.Option(help="Processes, one per device.")] = None,
    overrides: SetOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be.")] = False,
) -> None:
    """Train a generator: E alone where configured, then G against D."""
    from counterpoise.commands import training

    if (preset is None) == (config is None):
        raise UserError("give --preset NAME or --config FILE; `counterpoise presets` lists")
    settings = overrides or []
    if data:
        settings += [f"data.folders={json.dumps([str(folder) for folder in data])}"]
    if devices is not None:
        settings += [f"train.devices={devices}"]
    source = preset if preset is not None else str(config)
    sys.exit(training.start(source, settings, run_dir, console, dry_run=dry_run))


@app.command()
def resume(
    run: Annotated[Path, typer.Argument(help="The folder of an interrupted run.")],
    steps: Annotated[int | None, typer.Option(help="Train to so many (after pretraining).")] = None,
    settings: SetOption = None,
) -> None:
    """Go on with an interrupted training from its newest checkpoint."""
    from counterpoise.commands import training

    given = [] if steps is None else [f"train.steps={steps}"]
    sys.exit(training.resume(run, [*given, *(settings or [])], console))


@app.command()
def presets() -> None:
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
    for title, names in choices.items():
        say(console, f"{title}: {', '.join(names)}")
    say(console, "balance.policy, with its balance.options:")
    for name, policy in POLICIES.items():
        options = ", ".join(f"{key}={value}" for key, value in policy_options(policy).items())
        say(console, f"  {name:<17}{options}".rstrip())


@app.command("import-weights")
def import_weights(
    source: Annotated[Path, typer.Argument(help="The authors' published ENet-PAT file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write (.safetensors).")],
) -> None:
    """Turn the authors' published ENet-PAT weights (a TensorFlow V1 checkpoint) into our format."""
    from counterpoise.commands.console import say
    from counterpoise.models.import_weights import (
        OFFICIAL_LICENCE,
        OFFICIAL_SOURCE,
        import_official,
    )

    tensors, parameters = import_official(source, output)
    say(console, f"{output}: {tensors} tensors, {parameters:,} parameters, from {OFFICIAL_SOURCE}")
    say(console, f"Licence of these weights: {OFFICIAL_LICENCE}")


@app.command()
def upscale(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A picture, or a folder of them.")],
    destination: Annotated[
        Path | None, typer.Argument(metavar="[OUT]", help="Likewise; default: beside IN.")
    ] = None,
    weights: Annotated[Path | None, WeightsOption] = None,
    device: DeviceOption = "auto",
    tile_px: Annotated[int, typer.Option(min=16, help="Side of a tile of the input.")] = 128,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Upscale pictures: PNG, JPEG, WebP, TIFF; alpha, grey and 16 bits are kept.

    Without weights of your own, by the network that comes with the package.
    """
    from counterpoise.commands import upscaling

    upscaling.run(source, destination, weights, device, tile_px, overwrite, console)


@app.command()
def evaluate(
    weights: Annotated[list[Path] | None, WeightsOption] = None,
    outputs: Annotated[list[Path] | None, typer.Option(help="Outputs, by image name.")] = None,
    data: Annotated[list[Path] | None, typer.Option(help="A folder of HR images.")] = None,
    more_data: Annotated[list[Path] | None, typer.Argument(metavar="[SET]...")] = None,
    metrics: Annotated[str | None, typer.Option(help="E.g. psnr,ssim,rmse,lpips,niqe.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Also write one row per image here.")] = None,
    figures: Annotated[Path | None, typer.Option(help="Folder for crops side by side.")] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="A B", help="Paired differences of two: weights, folders of outputs."),
    ] = None,
    scale: Annotated[int | None, typer.Option(min=2, max=8, help="Of outputs; else 4.")] = None,
    device: DeviceOption = "auto",
) -> None:
    """Score upscaled images against HR, with plain bicubic beside (a border of the scale cropped).

    PSNR, SSIM, RMSE, sliced Wasserstein distance; LPIPS and NIQE where their weights are at hand.
    --weights, --outputs and --data may be repeated.
    """
    from counterpoise.commands import evaluation

    evaluation.run(
        console,
        folders=[*(data or []), *(more_data or [])],
        weights=weights or [],
        outputs=outputs or [],
        metrics=metrics,
        csv=csv,
        figures=figures,
        compare=compare,
        scale=scale,
        device=device,
    )


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Several are overlaid.")],
    out: Annotated[Path | None, typer.Option(help="The page; default RUN/report.html.")] = None,
) -> None:
    """Write a run, or several, as one page: verdict, charts, samples, metrics, configuration."""
    from counterpoise.commands import reporting

    sys.exit(reporting.run(runs, out, console))


@app.command()
def best(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Say which checkpoint of a run to take, and whether more training is likely to pay.

    Goes by the held-out metrics that the training recorded: the nearest to the lowest distortion
    and the lowest perceptual distance. Writes best.json and generator-best.safetensors.
    """
    from counterpoise.commands import best as command

    command.run(run, as_json, console)


@app.command()
def diagnose(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE|RUN|-", help="Log files, run folders, or - for a pipe."),
    ] = None,
    objective: ObjectiveOption = None,
    mapping: MappingOption = None,
    d_loss_is_mean: MeanOption = False,
    form: Annotated[
        str, typer.Option("--format", help="text, json, sarif or github (workflow commands).")
    ] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="All evidence, all remedies, what could not be judged.")
    ] = False,
    baseline: Annotated[
        str | None, typer.Option(metavar="FILE|RUN", help="Say what changed since this one.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a page here.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema.")] = False,
) -> None:
    """Say what is wrong with a GAN training, from its log alone, whatever program wrote it.

    Exit code 0: healthy; 1: problems; 2: cannot be read; 3: too little evidence to judge. Of
    several trainings: 2 before 1 before 3.
    """
    from counterpoise.commands import diagnosis

    if schema:
        from counterpoise.commands.diagnosis_formats import json_schema

        print(json_schema())  # noqa: T201
        return
    if not sources:
        raise UserError("give a log file, a run folder, or - to read a pipe")
    options = diagnosis.Options(
        objective=objective,
        mapping=mapping or [],
        d_loss_is_mean=d_loss_is_mean,
        form="json" if as_json else form,
        everything=everything,
        baseline=baseline,
        page=html,
    )
    sys.exit(diagnosis.run(sources, options, console))


@app.command()
def watch(
    source: Annotated[Path, typer.Argument(metavar="RUN|LOGFILE", help="A run, or any log.")],
    web: Annotated[bool, typer.Option("--web", help="Serve a page on 127.0.0.1 instead.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0: any.")] = 6106,
    once: Annotated[bool, typer.Option("--once", help="Print how it stands, and end.")] = False,
    objective: ObjectiveOption = None,
    mapping: MappingOption = None,
    d_loss_is_mean: MeanOption = False,
) -> None:
    """Watch a training as it goes: curves, what is wrong and what to change first. Read-only."""
    from counterpoise.commands import watching

    sys.exit(
        watching.run(
            source,
            once=once,
            web=web,
            port=port,
            objective=objective,
            mapping=mapping or [],
            d_loss_is_mean=d_loss_is_mean,
            console=console,
        )
    )
