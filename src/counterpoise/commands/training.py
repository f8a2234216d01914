"""`train` and `resume` behind the command line: devices, the run folder and the closing words."""

import os
import signal
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from rich.console import Console

from counterpoise.commands.console import ConsoleReporter, metrics_table, print_table, say
from counterpoise.commands.reporting import write_at_end
from counterpoise.config import RunConfig
from counterpoise.config_file import load_config
from counterpoise.errors import TrainingDivergedError, UserError
from counterpoise.json_lines import read_json_lines
from counterpoise.run_folder import BICUBIC, UNSAVED, RunFolder
from counterpoise.training.checks import check_training
from counterpoise.training.loop import Outcome
from counterpoise.training.plan import PRETRAIN, TRAIN, plan_stages
from counterpoise.training.session import train as run_training
from counterpoise.training.setup import build_parts, take_initial_weights


def load(source: str, overrides: list[str]) -> RunConfig:
    """A configuration with absolute paths, so that its run can be resumed from anywhere."""
    config = load_config(source, overrides, checks=(check_training,))
    data = config.data.model_copy(
        update={
            name: tuple(Path(os.path.abspath(folder)) for folder in getattr(config.data, name))
            for name in ("folders", "lr_folders", "held_out_folders")
        }
    )
    features, train = config.features, config.train
    if features.weights is not None:
        features = features.model_copy(update={"weights": Path(os.path.abspath(features.weights))})
    if train.initial_weights is not None:
        weights = Path(os.path.abspath(train.initial_weights))
        train = train.model_copy(update={"initial_weights": weights})
    return config.model_copy(update={"data": data, "features": features, "train": train})


def make_fabric(config: RunConfig) -> Fabric:
    """The devices and precision of a configuration; torchrun's processes where it started us."""
    processes, local = _from_environment("WORLD_SIZE", 1), _from_environment("LOCAL_WORLD_SIZE", 0)
    if local > processes:
        raise UserError(
            f"LOCAL_WORLD_SIZE in the environment is {local}, more than WORLD_SIZE, {processes}; "
            "unset both, or let torchrun set them"
        )
    devices, nodes = (local, processes // local) if local else (config.train.devices, 1)
    try:
        return Fabric(
            accelerator=config.train.accelerator,
            devices=devices,
            num_nodes=nodes,
            precision=config.train.precision,
            strategy="ddp" if devices * nodes > 1 else "auto",
        )
    except (RuntimeError, ValueError) as error:
        detail = " ".join(str(error).split())
        raise UserError(
            f"train.accelerator {config.train.accelerator} with {devices} device(s): {detail}"
        ) from error


def _from_environment(name: str, default: int) -> int:
    """A number that torchrun gives its processes."""
    text = os.environ.get(name, str(default))
    if not (text.isascii() and text.isdigit()):
        raise UserError(
            f"{name} in the environment is '{text}', not a number of processes; unset it, or let "
            "torchrun set it"
        )
    return int(text)


def describe(config: RunConfig, console: Console) -> None:
    """Print the resolved configuration, the networks' sizes and the data: what would be trained."""
    fabric = make_fabric(config.model_copy(update={"train": _one_device(config)}))
    parts = build_parts(config, fabric)
    take_initial_weights(parts)
    console.print(config.to_yaml(), markup=False, highlight=False, soft_wrap=True)
    networks = {"generator": parts.networks.g, "discriminator": parts.networks.d}
    for name, network in networks.items():
        if network is not None:
            count = sum(p.numel() for p in network.parameters())
            console.print(f"{name}: {count:,} parameters", highlight=False)
    for note in parts.notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    stages = ", then ".join(f"{s.name} for {s.steps:,} steps" for s in plan_stages(config))
    console.print(f"would train: {stages} on {fabric.device}", highlight=False)


def _one_device(config: RunConfig) -> Any:
    return config.train.model_copy(update={"devices": 1})


def start(config: RunConfig, run_dir: Path | None, name: str, console: Console) -> int:
    """Train anew; the exit code."""
    path = run_dir if run_dir is not None else free_folder(Path("runs"), name)
    return _run(config, RunFolder(path), console, resume=False)


def go_on(
    path: Path, steps: int | None, stop: str | None, settings: list[str], console: Console
) -> int:
    """Resume a run, with other settings where some are given; the exit code."""
    run = RunFolder.open(path)
    overrides = {"train.steps": steps, "train.stop": stop}
    given = [f"{key}={value}" for key, value in overrides.items() if value is not None]
    given += settings
    config = load(str(run.config), given)
    return _run(config, run, console, resume=True)


def free_folder(parent: Path, name: str) -> Path:
    """`parent/name`, or the first of `name-2`, `name-3`... that does not exist."""
    candidate, number = parent / name, 1
    while candidate.exists():
        number += 1
        candidate = parent / f"{name}-{number}"
    return candidate


def _run(config: RunConfig, run: RunFolder, console: Console, *, resume: bool) -> int:
    fabric = make_fabric(config)
    if not resume:
        run.refuse_if_used()
    fabric.launch()
    # The first process chose the folder; the others may have seen it appear.
    run = RunFolder(Path(fabric.broadcast(str(run.path))))
    quiet = Console(quiet=True)
    try:
        with ConsoleReporter(console if fabric.is_global_zero else quiet) as reporter:
            outcome = run_training(config, run, fabric, reporter, resumes=resume)
    except TrainingDivergedError:  # Its page says how it came to that.
        if fabric.is_global_zero:
            write_at_end(run, console)
        raise
    except KeyboardInterrupt as interrupt:
        if fabric.is_global_zero:
            say(console, "Stopped at once, without saving.")
            if run.config.exists():
                say(console, f"Go on with: counterpoise resume {run.path}")
        return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)
    if fabric.is_global_zero:
        summarise(config, run, outcome, console)
        if not outcome.interrupted:  # Who asked it to stop does not wait for a page.
            write_at_end(run, console)
    return exit_code(outcome)


def exit_code(outcome: Outcome) -> int:
    """0, or what a shell gives a process that a signal ended: 130 for Ctrl-C, 143 for SIGTERM."""
    if not outcome.interrupted:
        return 0
    # Another process of this training may be the one that was asked.
    return 128 + (outcome.signal_number or signal.SIGINT)


def summarise(config: RunConfig, run: RunFolder, outcome: Outcome, console: Console) -> None:
    """Say how a training ended: held-out metrics, and where things lie."""
    if outcome.interrupted:
        how = "and saved" if outcome.saved else UNSAVED
        say(console, f"Stopped after step {outcome.step}, {how}.")
        say(console, f"Go on with: counterpoise resume {run.path}")
        return
    if outcome.stopped_early:
        if outcome.step == outcome.first_step:
            say(console, f"This run stopped early because {outcome.stopped_early}.")
        say(console, f"Go on all the same: counterpoise resume {run.path} --stop never")
    elif outcome.step == outcome.first_step:
        console.print("This run is complete: nothing left to train (--steps N extends it).")
    rows, _ = read_json_lines(run.metrics)
    titles = {BICUBIC: "bicubic", PRETRAIN: "E (pretrained)", TRAIN: config.loss.letters}
    newest = {}
    for row in rows:
        stage = row.get("stage")
        if isinstance(stage, str) and stage in titles:
            newest[titles[stage]] = {k: v for k, v in row.items() if isinstance(v, int | float)}
    print_table(console, metrics_table("Held-out images", list(newest.items())))
    places = {
        "weights": run.generator,
        "samples": run.sample(outcome.step),
        "signals": run.signals,
        "TensorBoard": run.tensorboard,
    }
    for what, path in places.items():
        say(console, f"{what:<12} {path}")
    say(
        console,
        f"Upscale your own pictures: counterpoise upscale IN OUT --weights {run.generator}",
    )
