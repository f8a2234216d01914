"""A training small enough for tests: seconds on a CPU."""

from pathlib import Path

from lightning_fabric import Fabric

from counterpoise.commands.training import make_fabric
from counterpoise.config import RunConfig
from counterpoise.config_file import load_config
from counterpoise.json_lines import read_json_lines
from counterpoise.run_folder import RunFolder
from counterpoise.training.checks import check_training
from counterpoise.training.loop import Outcome
from counterpoise.training.recorder import SilentReporter
from counterpoise.training.session import train

TINY = [
    "generator={width: 4, blocks: 1}",
    "discriminator={width: 2}",
    "data={crop_px: 32, held_out_images: 2, held_out_px: 48}",
    "features={extractor: embedded}",
    "loss={pixel: {weight: 1}, adversarial: {weight: 0.1}}",
    "optimizer={g: {learning_rate: 1.0e-3}, d: {learning_rate: 1.0e-3}}",
    "train={pretrain_steps: 3, steps: 5, batch_size: 4, log_every: 2, sample_every: 4, "
    "checkpoint_every: 4, accelerator: cpu}",
]


def tiny(*overrides: str, data: Path | None = None) -> RunConfig:
    folders = [] if data is None else [f"data.folders=['{data}']"]
    return load_config("demo", [*TINY, *folders, *overrides], checks=(check_training,))


def run(
    config: RunConfig, path: Path, *, resume: bool = False, fabric: Fabric | None = None
) -> Outcome:
    fabric = make_fabric(config) if fabric is None else fabric
    return train(config, RunFolder(path), fabric, SilentReporter(), resume=resume)


def signals(path: Path) -> list[dict]:
    return read_json_lines(RunFolder(path).signals)[0]


def without_time(rows: list[dict]) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
