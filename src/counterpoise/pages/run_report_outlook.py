"""Whether more training pays, and which checkpoint `counterpoise best` recommends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, FiniteFloat, ValidationError

from counterpoise.config import RunConfig
from counterpoise.outlook import WORDS, Verdict, outlook, stage_rows
from counterpoise.run_folder import RunFolder

# Candidates that are shown, the best ones.
MOST_CANDIDATES = 12
# What is longer is cut, and so no JSON: a candidate takes half a kilobyte.
MOST_BEST_BYTES = 16 << 20


class Candidate(BaseModel):
    """A generator of `best.json`."""

    step: int
    weights: str
    on_front: bool
    distance: FiniteFloat | None
    metrics: dict[str, FiniteFloat | None]
    why: str = ""

    @property
    def name(self) -> str:
        return f"step {self.step:,}, {self.weights}"


class Best(BaseModel):
    """`best.json`, as far as it is shown."""

    version: Literal[1]
    stage: str
    images: str
    image_count: int
    distortion: str
    perception: str
    recommended: Candidate
    candidates: list[Candidate]


@dataclass(frozen=True)
class Future:
    """What is said of going on with a run, and of what to take from it."""

    more_training_pays: Verdict | None = None  # None where the run has no held-out metrics
    outlook: str = ""  # in words
    reason: str = ""
    best: Best | None = None
    advice: str = ""  # what to run for a recommendation, or for a newer one
    notes: list[str] = field(default_factory=list)


def read_future(
    folder: RunFolder, config: RunConfig | None, metrics: Sequence[Mapping[str, Any]]
) -> Future:
    """Judge the held-out metrics, and read `best.json`; a damaged one is a note."""
    if config is None:
        return Future()
    notes: list[str] = []
    found = outlook(stage_rows(metrics), config.train.pretrain_steps + config.train.steps)
    verdict, best = found.more_training_pays, _read_best(folder, notes)
    return Future(verdict, WORDS[verdict], found.reason, best, _advice(folder, best), notes)


def _read_best(folder: RunFolder, notes: list[str]) -> Best | None:
    if not folder.best.exists():
        return None
    try:
        with folder.best.open("rb") as file:
            best = Best.model_validate_json(file.read(MOST_BEST_BYTES))
    except (OSError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
        notes.append(
            f"best.json cannot be read ({reason}): make it anew with "
            f"`counterpoise best {folder.path}`"
        )
        return None
    files, step = folder.checkpoint_files(), best.recommended.step
    if files and files[-1].name < folder.checkpoint(step).name:
        # The run was gone on with from an earlier one.
        notes.append(
            f"best.json recommends step {step:,}, past the newest checkpoint: make it anew with "
            f"`counterpoise best {folder.path}`"
        )
        return None
    return best


def _advice(folder: RunFolder, best: Best | None) -> str:
    files = folder.checkpoint_files()
    if not files:
        return ""
    command = f"counterpoise best {folder.path}"
    if best is None:
        return f"Which checkpoint to take: {command}"
    newest = max((candidate.step for candidate in best.candidates), default=0)
    if files[-1].name > folder.checkpoint(newest).name:
        return f"There are newer checkpoints than those that were ranked: {command}"
    return ""
