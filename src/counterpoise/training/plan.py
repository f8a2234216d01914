"""The stages of a training: E alone where it is configured, then the losses of the run."""

import math
from dataclasses import dataclass

from counterpoise.config import AdamConfig, LossConfig, RunConfig

PRETRAIN = "pretrain"
TRAIN = "train"


@dataclass(frozen=True)
class Stage:
    """Steps `first_step` to `last_step`, counted from 1 over the whole training."""

    name: str
    first_step: int
    last_step: int
    loss: LossConfig
    g_adam: AdamConfig

    @property
    def steps(self) -> int:
        return self.last_step - self.first_step + 1

    @property
    def is_adversarial(self) -> bool:
        return self.loss.adversarial.weight > 0


def learning_rate(adam: AdamConfig, step: int, steps: int) -> float:
    """The rate in step `step` (from 1) of a stage of so many."""
    warm, rate = adam.warmup_steps, adam.learning_rate
    if step <= warm:
        return rate * step / warm
    if adam.schedule == "cosine":
        return rate * (1 + math.cos(math.pi * (step - 1 - warm) / (steps - warm))) / 2
    return rate * adam.gamma ** sum(step > milestone for milestone in adam.milestones)


def plan_stages(config: RunConfig) -> list[Stage]:
    """The stages in order; the first one begins at step 1."""
    pretrain_steps = config.train.pretrain_steps
    stages = []
    if pretrain_steps:
        g_adam = config.optimizer.g.model_copy(
            update={"learning_rate": config.train.pretrain_learning_rate}
        )
        stages.append(Stage(PRETRAIN, 1, pretrain_steps, LossConfig(), g_adam))
    last = pretrain_steps + config.train.steps
    stages.append(Stage(TRAIN, pretrain_steps + 1, last, config.loss, config.optimizer.g))
    return stages


TERMS = {"E": "squared error", "P": "perceptual", "A": "adversarial", "T": "texture"}


def heading(stages: list[Stage], stage: Stage) -> str:
    """What a person is told as a stage begins, such as `2 of 2: PA (perceptual, adversarial)`."""
    letters = stage.loss.letters
    terms = ", ".join(TERMS[letter] for letter in letters)
    number = f"{stages.index(stage) + 1} of {len(stages)}"
    return f"{number}: {letters} ({terms}), {stage.steps:,} steps"


def stage_at(stages: list[Stage], step: int) -> Stage:
    """The stage that `step` (from 1) belongs to."""
    return next(stage for stage in stages if step <= stage.last_step)
