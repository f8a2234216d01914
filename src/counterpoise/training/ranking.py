"""Which of a run's checkpoints to take: each scored on held-out images, and ranked."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from counterpoise.config import RunConfig
from counterpoise.config_file import BadYamlError, load_config, read_yaml
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
from counterpoise.outlook import DISTORTION, Outlook, nearest_to_ideal, outlook, stage_rows
from counterpoise.run_folder import RunFolder
from counterpoise.training import checkpoint
from counterpoise.training.plan import plan_stages, stage_at
from counterpoise.training.setup import Pairs, held_out_pairs

AVERAGE = "average"
# The parts of a checkpoint that are generators, and what to call them.
PARTS = {"g_average": AVERAGE, "g": "as trained"}
# Costs most, and says little that the others do not.
NOT_MEASURED = ("ssim_rgb", "psnr_rgb")

# Scores a generator, or bicubic upscaling, under a name.
Bench = Callable[[str, Generator | None], Scores]


@dataclass(frozen=True)
class CandidateGenerator:
    """A generator of a checkpoint, scored."""

    step: int
    weights: str  # which, in words: of `PARTS`
    file: Path
    generator: Generator
    scores: Scores
    licence: str = ""  # of the weights that the training began with

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
    references: Sequence[Scores]
    ranking: Ranking
    # The recommended candidate against the newest average; empty where it is that one.
    against_newest: Sequence[Difference]
    outlook: Outlook
    notes: Sequence[str]

    @property
    def recommended(self) -> CandidateGenerator:
        return self.candidates[self.ranking.recommended]

    def why(self) -> str:
        """Why the recommended candidate is recommended, in words."""
        ranking, perception = self.ranking, MEASURES[self.ranking.perception].title
        ideal, front = ranking.points.min(0), int(ranking.on_front.sum())
        if len(self.candidates) == 1:
            return "it is the only one"
        if front == 1:
            return f"it has both the lowest RMSE and the lowest {perception} of all"
        first, second = ranking.order[:2]
        unit = "spreads between the images" if self.image_count > 1 else "times the mean"
        return (
            f"of the {front} that none beats in both RMSE and {perception}, it is the nearest to "
            f"the best of each ({ideal[0]:.2f} and {ideal[1]:.1f}): "
            f"{ranking.distances[first]:.3f} {unit} away, the next "
            f"{ranking.distances[second]:.3f} ({self.candidates[second].name})"
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values, for `best.json`; paths are relative to the run."""
        candidates = [
            {
                "step": candidate.step,
                "weights": candidate.weights,
                "checkpoint": str(candidate.file.relative_to(self.run)),
                "on_front": bool(self.ranking.on_front[index]),
                "distance": float(self.ranking.distances[index]),
                "metrics": _finite_means(candidate.scores),
            }
            for index in self.ranking.order
            for candidate in (self.candidates[index],)
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
            "against_newest": [_difference_json(found) for found in self.against_newest],
            "outlook": asdict(self.outlook),
            "notes": list(self.notes),
        }


def _difference_json(found: Difference) -> dict[str, Any]:
    estimate = found.difference
    interval = estimate.interval
    return {
        "metric": found.measure.name,
        "difference": estimate.mean,
        "interval": None if interval is None else [interval.low, interval.high],
        "better_images": found.b_wins,
        "of": estimate.count,
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
        raise UserError(f"{path}: {_why_no_checkpoints(run)}")
    config = load_config(run.config)
    scale = config.generator.scale
    pairs, images = _images(config, data)
    measures = [m for m in choose_measures(None)[0] if m.name not in NOT_MEASURED]

    def bench(name: str, generator: Generator | None) -> Scores:
        upscale = by_bicubic(scale)
        if generator is not None:
            upscale = by_generator(generator.to(device), device)
        return score_pairs(name, pairs, scale, upscale, measures)

    candidates, stage, notes = _candidates(files, config, bench)
    last = plan_stages(config)[-1]
    # To compare with, not to choose: bicubic, and the generator that the stage began from.
    references = [bench("bicubic", None)]
    if run.pretrained_generator.is_file() and stage == last.name:
        pretrained = load_generator(run.pretrained_generator).generator
        references.append(bench("E (pretrained)", pretrained))
    ranking = rank([candidate.scores for candidate in candidates])
    recommended = candidates[ranking.recommended]
    newest = max((c for c in candidates if c.weights == AVERAGE), key=lambda c: c.step)
    metrics, torn = read_json_lines(run.metrics)
    rows = stage_rows(metrics)
    notes += torn
    ideal_step = nearest_to_ideal(rows)
    if ideal_step is not None and all(candidate.step != ideal_step for candidate in candidates):
        notes.append(
            f"the held-out metrics of the training were nearest to the ideal at step {ideal_step}, "
            "of which there is no checkpoint (train.checkpoint_every "
            f"{config.train.checkpoint_every}, train.keep_checkpoints "
            f"{config.train.keep_checkpoints})"
        )
    return Choice(
        run=path,
        stage=stage,
        images=images,
        image_count=len(pairs),
        candidates=candidates,
        references=references,
        ranking=ranking,
        against_newest=(
            [] if recommended is newest else differences_between(newest.scores, recommended.scores)
        ),
        outlook=outlook(rows, last.last_step),
        notes=notes,
    )


def _why_no_checkpoints(run: RunFolder) -> str:
    try:
        tree = read_yaml(run.config)
    except (OSError, BadYamlError):
        tree = None
    if isinstance(tree, dict) and "train" not in tree:
        return (
            "a run of Balance in a loop of your own, which keeps its checkpoints elsewhere; score "
            "their outputs with `counterpoise evaluate --outputs FOLDER --data HR`"
        )
    return "this run has no checkpoint yet; wait for its first (train.checkpoint_every)"


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
    files: Sequence[Path], config: RunConfig, bench: Bench
) -> tuple[list[CandidateGenerator], str, list[str]]:
    """The scored generators of the newest stage's checkpoints, newest first; the stage; notes."""
    candidates: list[CandidateGenerator] = []
    notes: list[str] = []
    stage = None
    others = 0
    for file in reversed(files):
        try:
            saved = checkpoint.load(file)
            step = int(saved.values["step"])
            stage = stage or stage_at(plan_stages(config), step)
            if step < stage.first_step:
                others += 1
                continue
            generators = {words: _built(saved, part, config) for part, words in PARTS.items()}
        except UserError as error:
            notes.append(f"{error}; left out")
            continue
        licence = str(saved.values.get("licence", ""))
        for words, generator in generators.items():
            scores = bench(f"step {step}, {words}", generator)
            candidates.append(CandidateGenerator(step, words, file, generator, scores, licence))
    if stage is None or not candidates:
        raise UserError(f"no checkpoint that can be read: {'; '.join(notes)}")
    if others:
        notes.append(f"checkpoints of the stage before are left out: {others}")
    return candidates, stage.name, notes


def _built(saved: checkpoint.Checkpoint, part: str, config: RunConfig) -> Generator:
    generator = build_generator(config.generator)
    try:
        generator.load_state_dict(saved.part(part))
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:120]
        raise UserError(f"a checkpoint does not fit the run's config.yaml: {detail}") from error
    return generator.eval().requires_grad_(False)
