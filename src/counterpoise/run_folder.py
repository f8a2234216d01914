"""A run is a folder of plain files; everything that reads a run reads only these.

config.yaml        the resolved configuration, written first
signals.jsonl      one line per step
metrics.jsonl      held-out metrics
events.jsonl       what happened: starts, fallbacks, skipped images, checkpoints, interruptions
train.log          the lines that were printed
checkpoints/       step-00001000.safetensors: everything that a resumed training needs
samples/           step-00001000.png: a sheet of `SHEET_COLUMNS`, a row per crop
report.html        `counterpoise report`
generator.safetensors, generator-pretrained.safetensors   weights to use
.lock              held by the process that writes the run
"""

import os
import platform
from pathlib import Path

from counterpoise.errors import UserError
from counterpoise.folder_lock import LOCK_FILE, FolderLock
from counterpoise.plain_files import is_leftover, write_text, writing

# A sheet of samples: columns of square crops with gaps between, under a line of titles.
SHEET_COLUMNS = ("LR (pixels enlarged)", "bicubic", "output", "HR")
SHEET_GAP_PX = 4
SHEET_HEADER_PX = 18

# The "stage" of bicubic's row in metrics.jsonl.
BICUBIC = "bicubic"

# Kinds of events that say what became of the process that writes a run.
BEGAN, RESUMED = "began", "resumed"
ENDED, INTERRUPTED, DIVERGED, FAILED = "ended", "interrupted", "diverged", "failed"
# What an INTERRUPTED event ends with where the last steps are lost. Those of earlier versions begin
# with "broke off:" there.
UNSAVED = "without saving"
# What the loop check found, in its words.
LOOP_BUG = "loop-bug"
# A loop with `Balance` around it ended, or broke off.
CLOSED = "closed"
# The policy put a kept state back.
ROLL_BACK = "roll-back"


def version(package: str) -> str:
    """The version of an installed package; "unknown" of one that is only on the path."""
    from importlib import metadata  # It takes time, and readers do not ask.

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def software() -> str:
    """The versions that a run is made with, for its first event and for every resumed one."""
    names = [f"{name} {version(name)}" for name in ("counterpoise", "torch")]
    return ", ".join([*names, f"Python {platform.python_version()}"])


class RunFolder:
    """The paths of one run, and the few ways in which they are written and read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.signals = path / "signals.jsonl"
        self.metrics = path / "metrics.jsonl"
        self.events = path / "events.jsonl"
        self.log = path / "train.log"
        self.checkpoints = path / "checkpoints"
        self.samples = path / "samples"
        self.report = path / "report.html"
        self.generator = path / "generator.safetensors"
        self.pretrained_generator = path / "generator-pretrained.safetensors"

    def is_used(self) -> bool:
        """Whether the folder has something in it, but for what a crash at the very start leaves.

        Raises `UserError` where it cannot be looked into.
        """
        with writing(self.path):
            names = os.listdir(self.path) if os.path.lexists(self.path) else []
        return any(name != LOCK_FILE and not is_leftover(name) for name in names)

    def refuse_if_used(self) -> None:
        """Raise `UserError` where the folder has something in it, or cannot be looked into."""
        if self.is_used():
            again = f"continue it with `counterpoise resume {self.path}`"
            raise UserError(f"{self.path}: exists already; {again}, or choose another --run-dir")

    def save_config(self, config_yaml: str) -> None:
        """Write the configuration that the run goes on with."""
        write_text(self.config, config_yaml)

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """An existing run folder; `UserError` where there is none."""
        run = cls(path)
        if not run.config.is_file():
            raise UserError(f"{path}: not a run folder (it has no config.yaml); give one")
        return run

    def lock(self) -> FolderLock:
        """Make the folder where it is not there, and be the only one that writes in it.

        Raises `UserError` naming the process that does already. Readers are not kept out.
        """
        instead = "wait for it, stop it, or choose another folder"
        return FolderLock(self.path, "writes this run", instead)

    def remove_leftovers(self) -> None:
        """Delete temporary files of writes that a crash interrupted."""
        for folder in (self.path, self.checkpoints, self.samples):
            for file in folder.glob(".*"):
                if is_leftover(file.name):
                    file.unlink(missing_ok=True)

    def checkpoint(self, step: int) -> Path:
        return self.checkpoints / f"step-{step:08d}.safetensors"

    def sample(self, step: int) -> Path:
        return self.samples / f"step-{step:08d}.png"

    def sample_files(self) -> list[Path]:
        """The sheets of samples, oldest first."""
        return sorted(self.samples.glob(f"step-{8 * '[0-9]'}.png"))

    def checkpoint_files(self) -> list[Path]:
        """The checkpoints, oldest first."""
        return sorted(self.checkpoints.glob("step-*.safetensors"))
