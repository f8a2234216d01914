"""Which of a run's checkpoints to take: each scored on held-out images, and ranked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from counterpoise.config import RunConfig
from counterpoise.config_file import BadYamlError, load_config, read_yaml
from counterpoise.data.catalog import catalog_folder, scan
from counterpoise.data.dataset import full_pairs
from counterpoise.errors import UserError
from counterpoise.evaluate.comparison import Difference, compare
from counterpoise.evaluate.measures import MEASURES, Measure, choose_measures
from counterpoise.evaluate.plane import Ranking, rank
from counterpoise.evaluate.scores import (
    Pairs,
    Scores,
    bicubic_upscaled,
    generated,
    score_pairs,
)
from counterpoise.json_lines import read_json_lines
from counterpoise.metrics.functional import SSIM_WINDOW_PX
from counterpoise.models.generator import EnhanceNet, build_generator
from counterpoise.models.weights import load_generator
from counterpoise.outlook import DISTORTION, Outlook, nearest_to_ideal, outlook, stage_rows
from counterpoise.run_folder import RunFolder
from counterpoise.training import checkpoint
from counterpoise.training.plan import Stage, plan_stages, stage_at
from counterpoise.training.setup import held_out_pairs

# The parts of a checkpoint that are generators, and what to call them.
PARTS = {"g_average": "average", "g": "as trained"}
# Costs most, and says little that the others do not.
NOT_MEASURED = ("ssim_rgb", "psnr_rgb")


@dataclass(frozen=True)
class Candidate:
    """A generator of a checkpoint, scored."""

    step: int
    weights: str  # a value of `PARTS`
    file: Path
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
    candidates: tuple[Candidate, ...]
    references: tuple[Scores, ...]
    ranking: Ranking
    # The recommended candidate against the newest average; empty where it is that one.
    against_newest: tuple[Difference, ...]
    outlook: Outlook
    notes: tuple[str, ...]

    @property
    def recommended(self) -> Candidate:
        return self.candidates[self.ranking.recommended]

    def why(self) -> str:
        """Why the recommended candidate is recommended, in words."""
        ranking, perception = self.ranking, MEASURES[self.ranking.perception].title
        first = ranking.recommended
        ideal = ranking.points.min(0)
        front = int(ranking.on_front.sum())
        if len(self.candidates) == 1:
            return "it is the only one"
        if front == 1:
            return f"it has both the lowest RMSE and the lowest {perception} of all"
        unit = "spreads between the images" if self.image_count > 1 else "times the mean"
        return (
            f"of the {front} that none beats in both RMSE and {perception}, it is the nearest to "
            f"the best of each ({ideal[0]:.2f} and {ideal[1]:.1f}): "
            f"{ranking.distances[first]:.3f} {unit} away, the next "
            f"{ranking.distances[ranking.order[1]]:.3f} ({self.candidates[ranking.order[1]].name})"
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values, for `best.json`; paths are relative to the run."""

        def entry(index: int) -> dict[str, Any]:
            candidate = self.candidates[index]
            return {
                "step": candidate.step,
                "weights": candidate.weights,
                "checkpoint": str(candidate.file.relative_to(self.run)),
                "on_front": bool(self.ranking.on_front[index]),
                "distance": float(self.ranking.distances[index]),
                "metrics": _finite(candidate.scores.means()),
            }

        return {
            "version": 1,
            "stage": self.stage,
            "images": self.images,
            "image_count": self.image_count,
            "distortion": DISTORTION,
            "perception": self.ranking.perception,
            "recommended": entry(self.ranking.recommended) | {"why": self.why()},
            "candidates": [entry(index) for index in self.ranking.order],
            "references": [
                {"method": s.method, "metrics": _finite(s.means())} for s in self.references
            ],
            "against_newest": [
                {
                    "metric": d.measure.name,
                    "difference": d.difference.mean,
                    "interval": None
                    if (interval := d.difference.interval) is None
                    else [interval.low, interval.high],
                    "better_images": d.b_wins,
                    "of": d.difference.count,
                }
                for d in self.against_newest
            ],
            "outlook": self.outlook.to_json(),
            "notes": list(self.notes),
        }


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
    stages = plan_stages(config)
    pairs, images = _images(config, data)
    measures = [m for m in choose_measures(None)[0] if m.name not in NOT_MEASURED]
    candidates, stage, notes = _candidates(files, config, stages, pairs, measures, device)
    ranking = rank([candidate.scores for candidate in candidates])
    recommended = candidates[ranking.recommended]
    newest = max((c for c in candidates if c.weights == PARTS["g_average"]), key=lambda c: c.step)
    metrics, torn = read_json_lines(run.metrics)
    rows = stage_rows(metrics)
    notes += torn
    notes += _better_and_gone(rows, candidates, config)
    return Choice(
        run=path,
        stage=stage,
        images=images,
        image_count=len(pairs),
        candidates=tuple(candidates),
        references=tuple(_references(run, config, pairs, measures, device, stage)),
        ranking=ranking,
        against_newest=tuple(compare(newest.scores, recommended.scores))
        if recommended is not newest
        else (),
        outlook=outlook(rows, stages[-1].last_step),
        notes=tuple(notes),
    )


def generator_of(candidate: Candidate, config: RunConfig) -> EnhanceNet:
    """The generator of a candidate, on the CPU."""
    part = next(name for name, words in PARTS.items() if words == candidate.weights)
    return _built(checkpoint.load(candidate.file), part, config)


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


def _images(config: RunConfig, data: Path | None) -> tuple[list[Any], str]:
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
    files: Sequence[Path],
    config: RunConfig,
    stages: list[Stage],
    pairs: Pairs,
    measures: Sequence[Measure],
    device: torch.device,
) -> tuple[list[Candidate], str, list[str]]:
    """The scored generators of the newest stage's checkpoints, newest first; the stage; notes."""
    candidates: list[Candidate] = []
    notes: list[str] = []
    stage: Stage | None = None
    others = 0
    for file in reversed(files):
        try:
            snapshot = checkpoint.load(file)
            step = int(snapshot.values["step"])
            stage = stage or stage_at(stages, step)
            if step < stage.first_step:
                others += 1
                continue
            generators = {part: _built(snapshot, part, config) for part in PARTS}
        except UserError as error:
            notes.append(f"{error}; left out")
            continue
        for part, words in PARTS.items():
            network = generators[part].to(device)

            def upscale(lr: Any, network: EnhanceNet = network) -> torch.Tensor:
                return generated(network, lr, device)

            scores = score_pairs(
                f"step {step}, {words}", pairs, config.generator.scale, upscale, measures
            )
            licence = str(snapshot.values.get("licence", ""))
            candidates.append(Candidate(step, words, file, scores, licence))
    if not candidates or stage is None:
        raise UserError(f"no checkpoint that can be read: {'; '.join(notes)}")
    if others:
        notes.append(f"checkpoints of the stage before are left out: {others}")
    return candidates, stage.name, notes


def _built(snapshot: checkpoint.Snapshot, part: str, config: RunConfig) -> EnhanceNet:
    generator = build_generator(config.generator)
    try:
        generator.load_state_dict(snapshot.part(part))
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:120]
        raise UserError(f"a checkpoint does not fit the run's config.yaml: {detail}") from error
    return generator.eval().requires_grad_(False)


def _references(
    run: RunFolder,
    config: RunConfig,
    pairs: Pairs,
    measures: Sequence[Measure],
    device: torch.device,
    stage: str,
) -> list[Scores]:
    """Bicubic, and the generator that the stage began from: to compare with, not to choose."""
    scale = config.generator.scale
    found = [score_pairs("bicubic", pairs, scale, lambda lr: bicubic_upscaled(lr, scale), measures)]
    if run.pretrained_generator.is_file() and stage == plan_stages(config)[-1].name:
        pretrained = load_generator(run.pretrained_generator).generator.to(device)
        found.append(
            score_pairs(
                "E (pretrained)", pairs, scale, lambda lr: generated(pretrained, lr, device),
                measures,
            )
        )  # fmt: skip
    return found


def _better_and_gone(
    rows: Sequence[Any], candidates: Sequence[Candidate], config: RunConfig
) -> list[str]:
    """A note where the held-out metrics had a better step whose checkpoint is gone."""
    step = nearest_to_ideal(rows)
    if step is None or any(candidate.step == step for candidate in candidates):
        return []
    return [
        f"the held-out metrics of the training were nearest to the ideal at step {step}, of which "
        f"there is no checkpoint (train.checkpoint_every {config.train.checkpoint_every}, "
        f"train.keep_checkpoints {config.train.keep_checkpoints})"
    ]


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    return {k: v if abs(v) < float("inf") else None for k, v in values.items()}
