"""One training of the gauntlet: an ordinary GAN loop in the hands of `Balance`."""

import dataclasses
import math
import time
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoise.anyloop.handle import Balance
from counterpoise.losses.adversarial import ADVERSARIAL_FORMS
from counterpoise.losses.penalties import gradient_penalty, r1_penalty
from counterpoise.run_folder import version
from counterpoise.sensors.discriminator import auc
from counterpoise.study.conditions import STRATEGIES, STRESSORS
from counterpoise.study.plan import Cell, StudyPlan
from counterpoise.study.results import DoneRow
from counterpoise.study.super_resolution import SuperResolution
from counterpoise.study.task import Batch, Setting, Task
from counterpoise.study.tasks import TASKS

# Evaluations of D in a training, whose last quarter judges it; G is measured at every fourth.
EVALUATIONS, G_EVERY = 20, 4
EVALUATION_SAMPLES = 256  # samples of each kind on which D is evaluated
# A D that ranks real above fake in this share of pairs is saturated; samples that cover less than
# this share of the data have collapsed.
SATURATED_AUC, COLLAPSED_COVERAGE = 0.99, 0.5


def setting_of(cell: Cell, plan: StudyPlan) -> Setting:
    """The task's setting, as the strategy has it, under the stressor."""
    setting, strategy = TASKS[cell.task].setting, STRATEGIES[cell.strategy]
    setting = dataclasses.replace(
        setting, steps=max(EVALUATIONS, round(setting.steps * plan.steps_scale)), **strategy.values
    )
    return STRESSORS[cell.stressor].apply(setting)


def play_cell(cell: Cell, plan: StudyPlan) -> DoneRow:
    """Train one cell; its row, the same on one machine but for `seconds`. The caller's random state
    is left alone. Raises `UserError` where a dependency or data is missing."""
    started = time.perf_counter()
    task = TASKS[cell.task]
    if isinstance(task, SuperResolution) and plan.data_folders:
        task = dataclasses.replace(task, folders=plan.data_folders)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cell.seed)
        row = train(task, setting_of(cell, plan), cell.seed)
    return DoneRow(
        **dict(cell),
        **row,
        seconds=round(time.perf_counter() - started, 3),
        versions={"torch": torch.__version__, "counterpoise": version("counterpoise")},
    )


def train(task: Task, setting: Setting, seed: int) -> dict[str, Any]:
    """Train as `setting` says; what a row says of it."""
    g, d = task.networks(setting, seed)
    if setting.d_ends_in_sigmoid:
        d = nn.Sequential(d, nn.Sigmoid())
    g_optimizer, d_optimizer = (
        torch.optim.Adam(network.parameters(), rate, betas=setting.betas, fused=True)
        for network, rate in ((g, setting.g_learning_rate), (d, setting.d_learning_rate))
    )

    def batches(size: int, base: int) -> Iterator[Batch]:
        return task.batches(dataclasses.replace(setting, batch_size=size), base + 10 * seed)

    trained_on = batches(setting.batch_size, 1000)
    evaluation = Evaluation(task, g, d, batches(EVALUATION_SAMPLES, 777_777))
    losses = Losses(task, setting, d, torch.Generator().manual_seed(5000 + seed))
    balance = Balance(
        g,
        d,
        g_optimizer,
        d_optimizer,
        policy=setting.policy,
        policy_options=dict(setting.policy_options),
        objective=setting.form,
        paired=isinstance(task, SuperResolution),
        log_every=setting.steps + 1,
        seed=seed,
    )

    def train_d(real: Tensor, fake: Tensor) -> None:
        with balance.d_step() as step:
            d_optimizer.zero_grad()
            losses.of_d(step, real, fake).backward()  # type: ignore[no-untyped-call]
            d_optimizer.step()

    d_updates = 0
    with balance:
        for step in range(1, setting.steps + 1):
            if setting.shock != 1 and step == setting.steps // 2 + 1:
                d_optimizer.param_groups[0]["lr"] *= setting.shock

            # D, as often as the policy wants it.
            source, real = next(trained_on)
            fake = g(source)
            train_d(real, fake.detach())
            for _ in range(balance.action.d_steps - 1):
                further_source, further_real = next(trained_on)
                with torch.no_grad():
                    further_fake = g(further_source)
                train_d(further_real, further_fake)

            # G, against the D just updated.
            with balance.g_step() as g_step:
                g_optimizer.zero_grad()
                losses.of_g(g_step, real, fake).backward()  # type: ignore[no-untyped-call]
                g_optimizer.step()
            d_updates += balance.action.d_steps * (not balance.action.roll_back)

            if step * EVALUATIONS // setting.steps > (step - 1) * EVALUATIONS // setting.steps:
                evaluation.measure()
                if evaluation.is_lost():
                    break
        findings = sorted(balance.diagnosis().ids())
    return evaluation.verdict() | {
        "findings": findings,
        "steps": setting.steps,
        "d_updates": d_updates,
    }


@dataclasses.dataclass
class Losses:
    """The losses of both networks, under the setting; `draw` is for what is random in them."""

    task: Task
    setting: Setting
    d: nn.Module
    draw: torch.Generator

    def __post_init__(self) -> None:
        form = self.setting.form
        # Where D ends in the sigmoid the loss has none.
        if form == "lsgan-on-sigmoid" and self.setting.d_ends_in_sigmoid:
            form = "lsgan"
        self._form = ADVERSARIAL_FORMS[form]

    def of_d(self, step: Any, real: Tensor, fake: Tensor) -> Tensor:
        """D's loss as the policy wants it, with the penalties."""
        setting = self.setting
        if setting.label_noise:
            # A share of the pairs has its labels exchanged.
            chosen = torch.rand(len(real), generator=self.draw)
            wrong = (chosen < setting.label_noise).reshape(-1, *(1 for _ in real.shape[1:]))
            real, fake = torch.where(wrong, fake, real), torch.where(wrong, real, fake)
        if setting.d_joint_batch:
            real_outputs, fake_outputs = self.d(torch.cat([real, fake])).chunk(2)
            step.logits(real=real_outputs, fake=fake_outputs)
        else:
            real_outputs, fake_outputs = self.d(real), self.d(fake)
        loss_real, loss_fake = self._form.d_loss(real_outputs, fake_outputs)
        if setting.real_target != 1:
            target = torch.full_like(real_outputs, setting.real_target)
            if setting.form == "non-saturating":
                loss_real = F.binary_cross_entropy_with_logits(real_outputs, target)
            else:
                loss_real = F.mse_loss(real_outputs, target)
        loss: Tensor = setting.loss_multiplier * step.loss(real=loss_real, fake=loss_fake)
        if setting.r1:
            loss = loss + setting.r1 / 2 * r1_penalty(self.d, real)
        if setting.r2:
            loss = loss + setting.r2 / 2 * r1_penalty(self.d, fake)
        if setting.gradient_penalty:
            penalty = gradient_penalty(self.d, real, fake, self.draw)
            loss = loss + setting.gradient_penalty * penalty
        return loss

    def of_g(self, step: Any, real: Tensor, fake: Tensor) -> Tensor:
        """G's loss: adversarial, and content where the task has it."""
        setting = self.setting
        real_outputs = self.d(real).detach() if self._form.g_needs_real else None
        adversarial = self._form.g_loss(real_outputs, self.d(fake))
        weight = setting.adversarial_weight * setting.loss_multiplier
        loss: Tensor = step.adversarial(weight * adversarial)
        content = self.task.content_loss(fake, real) if setting.content_weight else None
        return loss if content is None else loss + setting.content_weight * content


@dataclasses.dataclass
class Evaluation:
    """What is measured on the way, on clean samples: noise of a policy's does not hide D."""

    task: Task
    g: nn.Module
    d: nn.Module
    fresh: Iterator[Batch]
    points: list[dict[str, float]] = dataclasses.field(default_factory=list)

    @torch.no_grad()
    def measure(self) -> None:
        """Measure G on unseen samples, and D on fresh ones of what it is trained on."""
        source, real = next(self.fresh)
        outputs = self.d(real), self.d(self.g(source))
        real_logits, fake_logits = (output.flatten(1).mean(1) for output in outputs)
        # D's own threshold differs between objectives; the best one does not.
        point = {
            "auc": auc(real_logits, fake_logits),
            "accuracy": best_accuracy(real_logits, fake_logits),
        }
        weights = [*self.g.parameters(), *self.d.parameters()]
        finite = all(bool(w.isfinite().all()) for w in weights)
        if finite and (len(self.points) + 1) % G_EVERY == 0:
            self.g.eval()
            point |= self.task.measure(self.g)
            self.g.train()
        finite = finite and all(map(math.isfinite, point.values()))
        self.points.append(point | {"finite": finite})

    def is_lost(self) -> bool:
        """Whether the last two evaluations found something that is not finite."""
        return len(self.points) > 1 and not any(p["finite"] for p in self.points[-2:])

    def verdict(self) -> dict[str, Any]:
        """What a training came to: how it failed if it did, and its score."""
        score_name, last = self.task.score_name, self.points[-1]
        late = self.points[-EVALUATIONS // 4 :]
        means = {key: sum(p[key] for p in late) / len(late) for key in ("accuracy", "auc")}
        failures = [] if last["finite"] else ["diverged"]
        if last["finite"] and last["coverage"] < COLLAPSED_COVERAGE:
            failures.append("collapsed")
        if means["auc"] >= SATURATED_AUC:
            failures.append("d-saturated")
        of_d = ("auc", "accuracy", "finite")
        return {
            "failures": failures,
            "score": finite_or_none(last[score_name]) if last["finite"] else None,
            "score_name": score_name,
            "higher_is_better": self.task.higher_is_better,
            "metrics": {k: finite_or_none(value) for k, value in last.items() if k not in of_d},
            "d_last_quarter": {name: finite_or_none(mean) for name, mean in means.items()},
        }


def best_accuracy(real_logits: Tensor, fake_logits: Tensor) -> float:
    """The mean of the accuracies on real and fake at the best threshold, in [0.5, 1]."""
    candidates = torch.cat([real_logits, fake_logits])
    right = (real_logits >= candidates[:, None]).float().mean(1)
    right = right + (fake_logits < candidates[:, None]).float().mean(1)
    return float(right.max() / 2)


def finite_or_none(value: float | None) -> float | None:
    """A number for strict JSON, rounded to what matters."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
