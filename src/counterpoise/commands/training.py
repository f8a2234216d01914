"""`train` and `resume` behind the command line: devices, the run folder and the closing words."""

import itertools
import json
import signal
from pathlib import Path

from rich import get_console

from counterpoise.best_step import best_checkpoint
from counterpoise.commands.console import ConsoleReporter, print_metrics, say
from counterpoise.commands.reporting import write_at_end
from counterpoise.config import RunConfig
from counterpoise.config_file import load_config
from counterpoise.data.degradation_sheet import save_sheet
from counterpoise.errors import TrainingDivergedError, UserError
from counterpoise.json_lines import read_json_lines
from counterpoise.run_folder import BICUBIC, UNSAVED, RunFolder
from counterpoise.training.checks import check_training
from counterpoise.training.fabric import make_fabric
from counterpoise.training.loop import Outcome
from counterpoise.training.plan import PRETRAIN, TRAIN, plan_stages
from counterpoise.training.session import train as run_training
from counterpoise.training.setup import build_parts, take_initial_weights

# The preset that is for the sample photographs.
DEMO = "demo"


def start(
    preset: str | None,
    config: Path | None,
    data: list[Path],
    run_dir: Path | None,
    devices: int | None,
    overrides: list[str],
    dry_run: bool,
    sheet: Path | None,
) -> int:
    """Train anew, or with `dry_run` print what would be trained, and draw on a `sheet` what its
    degradations do; the exit code."""
    if (preset is None) == (config is None):
        raise UserError("give --preset NAME or --config FILE; `counterpoise presets` lists")
    source, settings = preset or str(config), list(overrides)
    if data:
        settings += [f"data.folders={json.dumps([str(folder) for folder in data])}"]
    if devices is not None:
        settings += [f"train.devices={devices}"]
    resolved = load_config(source, settings, checks=(check_training,))
    degradation = resolved.generator.degradation
    if sheet is not None and (not dry_run or degradation.name != "real-esrgan"):
        what = f"is of a --dry-run with generator.degradation=real-esrgan, here {degradation}"
        raise UserError(f"--show-degradations {what}")
    if dry_run:
        _describe(resolved, sheet)
        return 0
    if preset not in (None, DEMO) and not resolved.data.folders:
        raise UserError(
            f"without --data, {preset} would train on eleven sample photographs; give --data "
            f"FOLDER, or --preset {DEMO}, which is made for them"
        )
    # `runs/name`, or the first of `runs/name-2`, `runs/name-3`... that does not exist.
    name, ends = Path(source).stem, itertools.chain([""], (f"-{n}" for n in itertools.count(2)))
    free = (path for end in ends if not (path := Path("runs", name + end)).exists())
    run = RunFolder(run_dir or next(free))
    return _run(resolved, run, resume=False)


def resume(run: Path, steps: int | None, overrides: list[str]) -> int:
    """Go on with a run, with other settings where some are given; the exit code."""
    folder = RunFolder.open(run)
    settings = [] if steps is None else [f"train.steps={steps}"]
    config = load_config(folder.config, settings + overrides, checks=(check_training,))
    return _run(config, folder, resume=True)


def _describe(config: RunConfig, sheet: Path | None) -> None:
    """Print the resolved configuration, the networks' sizes and the data; draw the degradations."""
    one_device = config.train.model_copy(update={"devices": 1})
    fabric = make_fabric(config.model_copy(update={"train": one_device}))
    parts = build_parts(config, fabric, downloads=False)
    take_initial_weights(parts)
    say(config.to_yaml())
    networks = {"generator": parts.networks.g, "discriminator": parts.networks.d}
    for name, own in networks.items():
        if own is not None:
            say(f"{name}: {sum(p.numel() for p in own.parameters()):,} parameters")
    for note in parts.notes:
        say(note)
    stages = ", then ".join(f"{s.name} for {s.steps:,} steps" for s in plan_stages(config))
    say(f"would train: {stages} on {fabric.device}")
    if sheet is not None:
        save_sheet(sheet, parts.dataset)
        say(f"degradations: {sheet}")


def _run(config: RunConfig, run: RunFolder, *, resume: bool) -> int:
    fabric = make_fabric(config)
    if not resume:
        run.refuse_if_used()
    fabric.launch()
    # The first process chose the folder; the others may have seen it appear.
    run = RunFolder(Path(fabric.broadcast(str(run.path))))
    get_console().quiet = not fabric.is_global_zero
    try:
        with ConsoleReporter() as reporter:
            outcome = run_training(config, run, fabric, reporter, resumes=resume)
    except TrainingDivergedError:  # Its page says how it came to that.
        if fabric.is_global_zero:
            write_at_end(run)
        raise
    except KeyboardInterrupt as interrupt:
        say("Stopped at once, without saving.")
        if run.config.exists():
            say(f"Go on with: counterpoise resume {run.path}")
        return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)
    _summarise(config, run, outcome)
    if outcome.interrupted:
        # As a shell says it: 130 for Ctrl-C, 143 for SIGTERM. Another process of this training may
        # be the one that was asked. Who asked does not wait for a page.
        return 128 + (outcome.signal_number or signal.SIGINT)
    if fabric.is_global_zero:
        write_at_end(run)
        say("Next:")
        say(f"  counterpoise diagnose {run.path}  # the verdict, with its evidence")
        say(f"  counterpoise upscale photo.jpg --weights {run.generator}")
        say(f"  counterpoise resume {run.path} --steps {2 * config.train.steps}  # go on")
    return 0


def _summarise(config: RunConfig, run: RunFolder, outcome: Outcome) -> None:
    """Say how a training ended: held-out metrics, and where things lie."""
    if outcome.interrupted:
        how = "and saved" if outcome.saved else UNSAVED
        say(f"Stopped after step {outcome.step}, {how}.")
        say(f"Go on with: counterpoise resume {run.path}")
        return
    if outcome.step == outcome.first_step:
        say("This run is complete: nothing left to train (--steps N extends it).")
    titles = {BICUBIC: "bicubic", PRETRAIN: "E (pretrained)", TRAIN: config.loss.letters}
    metrics = read_json_lines(run.metrics)[0]
    newest = {str(row.get("stage")): row for row in metrics}
    rows = [(title, newest[stage]) for stage, title in titles.items() if stage in newest]
    print_metrics("Held-out images", rows)
    say(f"weights      {run.generator}")
    if best := best_checkpoint(run, metrics):
        say(f"best         {best}, by the held-out images")
    say(f"samples      {run.sample(outcome.step)}")
    say(f"signals      {run.signals}")
