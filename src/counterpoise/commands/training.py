"""`train` and `resume` behind the command line: devices, the run folder and the closing words."""

import itertools
import signal
from pathlib import Path

from rich.console import Console

from counterpoise.commands.console import ConsoleReporter, print_metrics, say
from counterpoise.commands.reporting import write_at_end
from counterpoise.config import RunConfig
from counterpoise.config_file import load_config
from counterpoise.errors import TrainingDivergedError
from counterpoise.json_lines import read_json_lines
from counterpoise.run_folder import BICUBIC, UNSAVED, RunFolder
from counterpoise.training.checks import check_training
from counterpoise.training.fabric import make_fabric
from counterpoise.training.loop import Outcome
from counterpoise.training.plan import PRETRAIN, TRAIN, plan_stages
from counterpoise.training.session import train as run_training
from counterpoise.training.setup import build_parts, take_initial_weights


def start(
    source: str, settings: list[str], run_dir: Path | None, console: Console, *, dry_run: bool
) -> int:
    """Train anew, or with `dry_run` print what would be trained; the exit code."""
    config = load_config(source, settings, checks=(check_training,))
    if dry_run:
        _describe(config, console)
        return 0
    run = RunFolder(run_dir if run_dir is not None else free_folder(Path(source).stem))
    return _run(config, run, console, resume=False)


def resume(path: Path, settings: list[str], console: Console) -> int:
    """Go on with a run, with other settings where some are given; the exit code."""
    run = RunFolder.open(path)
    config = load_config(str(run.config), settings, checks=(check_training,))
    return _run(config, run, console, resume=True)


def _describe(config: RunConfig, console: Console) -> None:
    """Print the resolved configuration, the networks' sizes and the data."""
    one_device = config.train.model_copy(update={"devices": 1})
    fabric = make_fabric(config.model_copy(update={"train": one_device}))
    parts = build_parts(config, fabric)
    take_initial_weights(parts)
    say(console, config.to_yaml())
    for name, network in {"generator": parts.networks.g, "discriminator": parts.networks.d}.items():
        if network is not None:
            count = sum(p.numel() for p in network.parameters())
            say(console, f"{name}: {count:,} parameters")
    for note in parts.notes:
        say(console, note)
    stages = ", then ".join(f"{s.name} for {s.steps:,} steps" for s in plan_stages(config))
    say(console, f"would train: {stages} on {fabric.device}")


def free_folder(name: str) -> Path:
    """`runs/name`, or the first of `runs/name-2`, `runs/name-3`... that does not exist."""
    candidates = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(path for each in candidates if not (path := Path("runs", each)).exists())


def _run(config: RunConfig, run: RunFolder, console: Console, *, resume: bool) -> int:
    fabric = make_fabric(config)
    if not resume:
        run.refuse_if_used()
    fabric.launch()
    # The first process chose the folder; the others may have seen it appear.
    run = RunFolder(Path(fabric.broadcast(str(run.path))))
    if not fabric.is_global_zero:
        console = Console(quiet=True)
    try:
        with ConsoleReporter(console) as reporter:
            outcome = run_training(config, run, fabric, reporter, resumes=resume)
    except TrainingDivergedError:  # Its page says how it came to that.
        if fabric.is_global_zero:
            write_at_end(run, console)
        raise
    except KeyboardInterrupt as interrupt:
        say(console, "Stopped at once, without saving.")
        if run.config.exists():
            say(console, f"Go on with: counterpoise resume {run.path}")
        return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)
    _summarise(config, run, outcome, console)
    if outcome.interrupted:
        # As a shell says it: 130 for Ctrl-C, 143 for SIGTERM. Another process of this training may
        # be the one that was asked. Who asked does not wait for a page.
        return 128 + (outcome.signal_number or signal.SIGINT)
    if fabric.is_global_zero:
        write_at_end(run, console)
    return 0


def _summarise(config: RunConfig, run: RunFolder, outcome: Outcome, console: Console) -> None:
    """Say how a training ended: held-out metrics, and where things lie."""
    if outcome.interrupted:
        how = "and saved" if outcome.saved else UNSAVED
        say(console, f"Stopped after step {outcome.step}, {how}.")
        say(console, f"Go on with: counterpoise resume {run.path}")
        return
    if outcome.step == outcome.first_step:
        say(console, "This run is complete: nothing left to train (--steps N extends it).")
    rows, _ = read_json_lines(run.metrics)
    titles = {BICUBIC: "bicubic", PRETRAIN: "E (pretrained)", TRAIN: config.loss.letters}
    newest = {}
    for row in rows:
        stage = row.get("stage")
        if isinstance(stage, str) and stage in titles:
            newest[titles[stage]] = {k: v for k, v in row.items() if isinstance(v, int | float)}
    print_metrics(console, "Held-out images", list(newest.items()))
    places = {
        "weights": run.generator,
        "samples": run.sample(outcome.step),
        "signals": run.signals,
        "TensorBoard": run.tensorboard,
    }
    for what, path in places.items():
        say(console, f"{what:<12} {path}")
    how = f"counterpoise upscale IN OUT --weights {run.generator}"
    say(console, f"Upscale your own pictures: {how}")
