"""Which of a run's checkpoints to take: each scored on held-out images, and ranked."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from counterpoise.config import RunConfig
from counterpoise.config_file import load_config
from counterpoise.data.catalog import catalog_folder, scan
from counterpoise.data.dataset import full_pairs
from counterpoise.errors import UserError
from counterpoise.evaluate.measures import MEASURES, choose_measures
from counterpoise.evaluate.plane import Ranking, rank
from counterpoise.evaluate.scores import (
    Difference,
    Scores,
    by_bicubic,
    by_generator,
    differences_between,
    score_pairs,
)
from counterpoise.json_lines import read_json_lines
from counterpoise.metrics.functional import SSIM_WINDOW_PX
from counterpoise.models.generator import Generator, build_generator
from counterpoise.models.weights import load_generator
from counterpoise.outlook import DISTORTION, Outlook, outlook, stage_rows
from counterpoise.run_folder import RunFolder
from counterpoise.training import checkpoint
from counterpoise.training.plan import TRAIN, Stage, plan_stages, stage_at
from counterpoise.training.setup import Pairs, held_out_pairs

# The parts of a checkpoint that are generators, and what to call them.
PARTS = {"g_average": "average", "g": "as trained"}
# Costs most, and says little that the others do not.
NOT_MEASURED = ("ssim_rgb", "psnr_rgb")


@dataclass(frozen=True)
class CandidateGenerator:
    """A generator of a checkpoint."""

    step: int
    weights: str  # which, in words: of `PARTS`
    file: Path
    generator: Generator
    licence: str  # of the weights that the training began with

    @property
    def name(self) -> str:
        return f"step {self.step}, {self.weights}"


@dataclass(frozen=True)
class Choice:
    """What `counterpoise best` found out."""

    run: Path
    stage: str
    images: str  # which images, in words
    image_count: int
    candidates: Sequence[CandidateGenerator]
    scores: Sequence[Scores]  # the candidates'
    references: Sequence[Scores]  # to compare with, not to choose
    ranking: Ranking
    outlook: Outlook
    notes: Sequence[str]

    @property
    def recommended(self) -> CandidateGenerator:
        return self.candidates[self.ranking.recommended]

    def why(self) -> str:
        """Why the recommended candidate is recommended, in words."""
        perception = MEASURES[self.ranking.perception].title
        front = int(self.ranking.on_front.sum())
        if len(self.candidates) == 1:
            return "it is the only one"
        if front == 1:
            return f"it has both the lowest RMSE and the lowest {perception} of all"
        return (
            f"of the {front} that none beats in both RMSE and {perception}, it is the nearest to "
            "the best of each"
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values, for `best.json`; paths are relative to the run."""
        candidates = [
            {
                "step": self.candidates[index].step,
                "weights": self.candidates[index].weights,
                "checkpoint": str(self.candidates[index].file.relative_to(self.run)),
                "on_front": bool(self.ranking.on_front[index]),
                "distance": float(self.ranking.distances[index]),
                "metrics": _finite_means(self.scores[index]),
            }
            for index in self.ranking.order
        ]
        return {
            "version": 1,
            "stage": self.stage,
            "images": self.images,
            "image_count": self.image_count,
            "distortion": DISTORTION,
            "perception": self.ranking.perception,
            "recommended": candidates[0] | {"why": self.why()},
            "candidates": candidates,
            "references": [
                {"method": s.method, "metrics": _finite_means(s)} for s in self.references
            ],
            "outlook": asdict(self.outlook),
            "notes": list(self.notes),
        }


def _finite_means(scores: Scores) -> dict[str, float | None]:
    return {name: x if math.isfinite(x) else None for name, x in scores.means().items()}


def choose(path: Path, data: Path | None, device: torch.device) -> Choice:
    """Score and rank the checkpoints of a run's newest stage.

    On the run's own held-out images, or on all images of `data`. Raises `UserError` for a folder
    that is no run, a run without checkpoints, and images that cannot be read.
    """
    run = RunFolder.open(path)
    files = run.checkpoint_files()
    if not files:
        raise UserError(
            f"{path}: this run has no checkpoint yet; wait for its first (train.checkpoint_every). "
            "A loop of your own keeps them elsewhere: score its outputs with `counterpoise "
            "evaluate --outputs FOLDER --data HR`"
        )
    config = load_config(run.config)
    scale = config.generator.scale
    pairs, images = _images(config, data)
    candidates, stage, notes = _candidates(files, config)
    generators: dict[str, Generator | None] = {each.name: each.generator for each in candidates}
    generators["bicubic"] = None
    if run.pretrained_generator.is_file() and stage.name == TRAIN:
        generators["E (pretrained)"] = load_generator(run.pretrained_generator).generator
    measures = [m for m in choose_measures(None)[0] if m.name not in NOT_MEASURED]
    scores = []
    for name, generator in generators.items():
        upscale = (
            by_bicubic(scale) if generator is None else by_generator(generator.to(device), device)
        )
        scores.append(score_pairs(name, pairs, scale, upscale, measures))
    count = len(candidates)
    metrics, torn = read_json_lines(run.metrics)
    return Choice(
        run=path,
        stage=stage.name,
        images=images,
        image_count=len(pairs),
        candidates=candidates,
        scores=scores[:count],
        references=scores[count:],
        ranking=rank(scores[:count]),
        outlook=outlook(stage_rows(metrics), plan_stages(config)[-1].last_step),
        notes=[*notes, *torn],
    )


def _images(config: RunConfig, data: Path | None) -> tuple[Pairs, str]:
    """Pairs (name, LR, HR), and what they are."""
    scale, degradation = config.generator.scale, config.generator.degradation
    if data is not None:
        catalog = catalog_folder(data, scale, SSIM_WINDOW_PX + 2 * scale)
        return list(full_pairs(catalog, scale, degradation)), catalog.description
    try:
        _, held_out = scan(config.data, scale)
    except UserError as error:
        raise UserError(
            f"the run's own images cannot be read ({error}); give others with --data"
        ) from error
    return held_out_pairs(held_out, config), f"held out: {held_out.description}"


def _candidates(
    files: Sequence[Path], config: RunConfig
) -> tuple[list[CandidateGenerator], Stage, list[str]]:
    """The generators of the newest stage's checkpoints, newest first; the stage; notes."""
    candidates: list[CandidateGenerator] = []
    notes: list[str] = []
    stage = None
    for file in reversed(files):
        try:
            saved = checkpoint.load(file)
            step = int(saved.values["step"])
            stage = stage or stage_at(plan_stages(config), step)
            if step < stage.first_step:
                notes.append(f"{file}: of the stage before, left out")
                continue
            licence = str(saved.values.get("licence", ""))
            candidates += [
                CandidateGenerator(step, words, file, _built(saved, part, config), licence)
                for part, words in PARTS.items()
            ]
        except UserError as error:
            notes.append(f"{error}; left out")
    if stage is None or not candidates:
        raise UserError(f"no checkpoint that can be read: {'; '.join(notes)}")
    return candidates, stage, notes


def _built(saved: checkpoint.Checkpoint, part: str, config: RunConfig) -> Generator:
    generator = build_generator(config.generator)
    try:
        generator.load_state_dict(saved.part(part))
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:120]
        raise UserError(f"a checkpoint does not fit the run's config.yaml: {detail}") from error
    return generator.eval().requires_grad_(False)
