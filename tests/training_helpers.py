"""A training small enough for tests: seconds on a CPU."""

import math
import tempfile
from pathlib import Path

import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file

from counterpoise.config import RunConfig
from counterpoise.config_file import load_config
from counterpoise.json_lines import read_json_lines
from counterpoise.run_folder import RunFolder
from counterpoise.training.checks import check_training
from counterpoise.training.fabric import make_fabric
from counterpoise.training.held_out import HeldOut
from counterpoise.training.loop import Outcome, Training
from counterpoise.training.reporting import Reporter
from counterpoise.training.session import train
from helpers import write_images

# Those of scikit-image would be decoded anew by each training, for longer than it takes.
_FOLDER = tempfile.TemporaryDirectory(prefix="images-")
write_images(Path(_FOLDER.name), 6, 64, 64)

TINY = [
    "generator={width: 4, blocks: 1}",
    "discriminator={width: 2}",
    f"data={{folders: ['{_FOLDER.name}'], crop_px: 32, held_out_images: 1, held_out_px: 48}}",
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
    return train(config, RunFolder(path), fabric, Reporter(), resumes=resume)


def signals(path: Path) -> list[dict]:
    return read_json_lines(RunFolder(path).signals)[0]


def without_time(rows: list[dict]) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def events(path: Path, kind: str | None = None) -> list[str]:
    """The messages of a run's events, or of those of a kind."""
    rows, _ = read_json_lines(RunFolder(path).events)
    return [row["message"] for row in rows if kind in (None, row["kind"])]


def differing_tensors(one: Path, other: Path, step: int = 8) -> list[str]:
    """The names of what differs by a bit between two runs' checkpoints of a step."""
    a, b = (load_file(RunFolder(path).checkpoint(step)) for path in (one, other))
    return [name for name in a.keys() | b.keys() if name not in a or name not in b
            or not torch.equal(a[name], b[name])]  # fmt: skip


def weights(path: Path, step: int = 8) -> dict[str, torch.Tensor]:
    """What G and D of a run have come to in a step."""
    tensors = load_file(RunFolder(path).checkpoint(step))
    return {name: value for name, value in tensors.items() if name.startswith(("g/", "d/"))}


def before_step(monkeypatch, act) -> None:
    """Call `act(training, step)` at the beginning of each step."""
    play = Training.play

    def acting(self, step):
        act(self, step)
        play(self, step)

    monkeypatch.setattr(Training, "play", acting)


def stop_at(monkeypatch, step: int) -> None:
    """Ask a training to stop in a step."""
    wanted = Training.is_stop_wanted
    monkeypatch.setattr(
        Training, "is_stop_wanted", lambda self, stop: wanted(self, stop) or self.step == step
    )


def without_showing(monkeypatch) -> list[int]:
    """Make no samples and metrics; the steps in which they are due."""
    steps = []

    def show(self, stop, writer):
        steps.append(self._state.step)
        return True

    monkeypatch.setattr(HeldOut, "show", show)
    return steps


def poison_d(monkeypatch, at_step: int) -> None:
    """Make a weight of D NaN at the beginning of a step."""

    def poison(training, step):
        if step == at_step:
            with torch.no_grad():
                next(training.parts.networks.d.parameters()).fill_(math.nan)

    before_step(monkeypatch, poison)
