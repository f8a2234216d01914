"""One training of the gauntlet: what it is made of, what it measures, when it counts as failed."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from counterpoise.errors import UserError
from counterpoise.study import play, super_resolution
from counterpoise.study.conditions import STRATEGIES, STRESSORS
from counterpoise.study.plan import AUTO_TUNED_ON, PLANS, Cell, cells_of, load_plan
from counterpoise.study.play import (
    EVALUATIONS,
    Evaluation,
    Losses,
    best_accuracy,
    play_cell,
    setting_of,
    train,
)
from counterpoise.study.results import DoneRow
from counterpoise.study.tasks import TASKS, classifier, digits
from helpers import write_images
from loop_helpers import Bare


@pytest.fixture
def small_sr(monkeypatch):
    """Few evaluations of few samples; super-resolution from few crops, after 5 steps of squared
    error instead of 200."""
    monkeypatch.setattr(super_resolution, "TRAINING_CROPS", 30)
    monkeypatch.setattr(play, "EVALUATION_SAMPLES", 16)
    monkeypatch.setattr(play, "EVALUATIONS", 4)
    task = dataclasses.replace(TASKS["sr"], pretrain_steps=5)
    monkeypatch.setattr(play, "TASKS", {**TASKS, "sr": task})


SHORT = PLANS["full"].model_copy(update={"steps_scale": 0.01})


def timeless(row):
    return row.model_copy(update={"seconds": 0.0})


def cell_of(key):
    return Cell(**dict(zip(("task", "stressor", "strategy", "seed"), key.split("/"), strict=True)))


def setting(key, plan=PLANS["full"]):
    return setting_of(cell_of(key), plan)


@pytest.mark.parametrize("name", PLANS)
def test_every_plan_has_cells_of_known_names_and_survives_its_file(name, tmp_path):
    plan = load_plan(name)
    cells = cells_of(plan)
    assert len(set(cells)) == len(cells) > 0
    file = tmp_path / "plan.yaml"
    file.write_text(plan.to_yaml())
    assert load_plan(file) == plan
    for cell in cells:
        assert setting_of(cell, plan).steps >= EVALUATIONS
    if name == "full":
        assert {(c.task, c.stressor) for c in cells} >= AUTO_TUNED_ON
        assert set(plan.stressors) == set(STRESSORS)
        usual = {name for name, strategy in STRATEGIES.items() if strategy.kind != "change"}
        assert set(plan.strategies) == usual


@pytest.mark.parametrize(
    ("source", "overrides", "message"),
    [
        ("fast", [], "unknown plan 'fast'; known: quick, full"),
        ("quick", ["tasks=[rings]"], "unknown task 'rings'; known: ring, grid"),
        ("quick", ["seeds=[-1]"], "seeds.0: input should be greater than"),
        ("quick", ["colour=red"], "colour"),
        ("quick", ["tasks=[ring]", "strategies=[seed-loop]"], "has no cell"),
        ("nowhere.yaml", [], "cannot be read"),
    ],
)
def test_a_wrong_plan_is_one_line(source, overrides, message):
    with pytest.raises(UserError) as error:
        load_plan(source, overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("ring/d-lr-x10/none/0", {"d_learning_rate": 1e-2, "g_learning_rate": 1e-3}),
        ("ring/d-tiny/none/0", {"d_width": 16}),
        ("digits/batchnorm-split/spectral-norm/0", {"d_norm": "batch"}),  # after the strategy
        ("sr/few-samples/none/0", {"train_samples": 20}),
        ("ring/lsgan-sigmoid/auto/0", {"form": "lsgan-on-sigmoid", "d_ends_in_sigmoid": True}),
        ("ring/lsgan-sigmoid/hinge/0", {"form": "hinge", "d_ends_in_sigmoid": True}),
        ("seed/none/seed-low-d-lr/0", {"d_learning_rate": 1e-4, "policy": "loss-gate"}),
        ("seed/none/seed-ttur/0", {"policy": "ttur", "policy_options": {}, "d_norm": "batch"}),
    ],
)
def test_a_cell_is_the_task_with_the_strategy_under_the_stressor(key, expected):
    found = setting(key)
    for name, value in expected.items():
        wanted = pytest.approx(value) if isinstance(value, float) else value
        assert getattr(found, name) == wanted


def test_every_stressor_but_none_changes_every_task_it_names():
    for name, stressor in STRESSORS.items():
        for task in stressor.tasks - {"seed"}:
            changed = setting(f"{task}/{name}/none/0") != setting(f"{task}/none/none/0")
            assert changed == (name != "none"), (task, name)


def test_every_strategy_differs_from_the_bare_loop_in_every_task():
    same = [
        (task, name)
        for name, strategy in STRATEGIES.items()
        for task in strategy.tasks
        if name != "none" and setting(f"{task}/none/{name}/0") == setting(f"{task}/none/none/0")
    ]
    # The question's loop is what its own task would be without a gate, doubled.
    assert same == []


@pytest.mark.usefixtures("small_sr")
def test_few_samples_are_the_same_few_for_training_and_asking():
    for name in ("ring", "digits", "sr"):
        task = TASKS[name]
        few = dataclasses.replace(task.setting, train_samples=5, batch_size=64)
        first, second = (next(task.batches(few, seed))[1] for seed in (1, 2))
        shown = {row.numpy().tobytes() for row in first}
        assert len(shown) == 5
        assert shown == {row.numpy().tobytes() for row in second}


@pytest.mark.usefixtures("small_sr")
def test_the_late_shock_comes_at_half_time(monkeypatch):
    rates = []
    step = torch.optim.Adam.step

    def spy(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    start = dataclasses.replace(TASKS["ring"].setting, steps=20, shock=10.0, batch_size=8)
    train(TASKS["ring"], start, 0)
    d_rates = rates[0::2]
    assert d_rates == [1e-3] * 10 + [1e-2] * 10


@pytest.mark.usefixtures("small_sr")
@pytest.mark.parametrize(
    "key", ["ring/none/auto/0", "ring/label-noise/wgan-gp/1", "sr/none/gradient-balance/0"]
)
def test_a_cell_gives_the_same_row_again_in_strict_json(key):
    cell = cell_of(key)
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first = play_cell(cell, SHORT)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(12)
    assert timeless(play_cell(cell, SHORT)) == timeless(first)
    if key == "ring/none/auto/0":
        other = cell_of("ring/none/auto/5")
        assert play_cell(other, SHORT).metrics != first.metrics
    assert DoneRow.model_validate_json(first.model_dump_json()) == first
    assert first.score == first.metrics[first.score_name]
    assert 0 <= first.metrics["coverage"] <= 1
    assert first.d_updates >= first.steps


def test_a_training_that_diverges_is_stopped_and_counted():
    start = dataclasses.replace(
        TASKS["ring"].setting, steps=100, g_learning_rate=math.inf, batch_size=8
    )
    row = train(TASKS["ring"], start, 0)
    assert "diverged" in row["failures"]
    assert row["score"] is None


class Constant(nn.Module):
    """Gives the same sample for every source."""

    def __init__(self, sample):
        super().__init__()
        self.sample = nn.Parameter(sample)

    def forward(self, source):
        return self.sample.expand(len(source), -1)


def test_collapse_and_saturation_are_found():
    task = TASKS["ring"]
    g = Constant(torch.tensor([2.0, 0.0]))
    d = nn.Linear(2, 1)
    with torch.no_grad():  # every real sample left of G's is ranked above it
        d.weight.copy_(torch.tensor([[-1.0, 0.0]]))
    fresh = task.batches(dataclasses.replace(task.setting, batch_size=256), 3)
    evaluation = Evaluation(task, g, d, fresh)
    for _ in range(EVALUATIONS):
        evaluation.measure()
    row = evaluation.verdict()
    assert row["failures"] == ["collapsed"]
    assert row["metrics"]["modes"] == 1
    g.sample.data = torch.tensor([9.0, 0.0])
    for _ in range(EVALUATIONS):
        evaluation.measure()
    assert evaluation.verdict()["failures"] == ["collapsed", "d-saturated"]
    assert evaluation.verdict()["d_last_quarter"] == {"accuracy": 1.0, "auc": 1.0}


def test_the_best_threshold():
    real, fake = torch.tensor([3.0, 4.0, 5.0, 1.0]), torch.tensor([0.0, 2.0, 2.0, 2.5])
    assert best_accuracy(real, fake) == 0.875
    assert best_accuracy(torch.zeros(5), torch.zeros(5)) == 0.5


def d_loss(**changes):
    torch.manual_seed(0)
    task = TASKS["ring"]
    start = dataclasses.replace(task.setting, **changes)
    _, d = task.networks(start, 0)
    losses = Losses(task, start, d, torch.Generator().manual_seed(0))
    real, fake = torch.randn(2, 16, 2).unbind()
    return losses.of_d(Bare(), real, fake), d(real), d(fake)


def test_the_losses_are_torchs():
    loss, real, fake = d_loss(real_target=0.9)
    cross_entropy = F.binary_cross_entropy_with_logits
    expected = cross_entropy(real, torch.full_like(real, 0.9))
    assert torch.isclose(loss, expected + cross_entropy(fake, torch.zeros_like(fake)))
    loss, real, fake = d_loss(real_target=0.9, form="lsgan")
    assert torch.isclose(loss, (real - 0.9).square().mean() + fake.square().mean())
    loss, real, fake = d_loss(form="lsgan-on-sigmoid")
    expected = (real.sigmoid() - 1).square().mean() + fake.sigmoid().square().mean()
    assert torch.isclose(loss, expected)


def test_what_changes_the_loss():
    single, *_ = d_loss()
    assert torch.isclose(d_loss(loss_multiplier=2.0)[0], 2 * single)
    assert torch.isclose(d_loss(d_joint_batch=True)[0], single)
    apart, joint = (d_loss(d_norm="batch", d_joint_batch=joint)[0] for joint in (False, True))
    assert not torch.isclose(apart, joint)
    for changes in ({"label_noise": 0.2}, {"r1": 1.0}, {"r2": 1.0}, {"gradient_penalty": 1.0}):
        assert not torch.isclose(d_loss(**changes)[0], single)


@pytest.mark.parametrize("name", ["ring", "grid", "digits"])
def test_real_samples_are_perfect(name):
    task = TASKS[name]
    batches = task.batches(dataclasses.replace(task.setting, batch_size=3000), 0)

    class Real(nn.Module):
        def forward(self, source):
            return next(batches)[1][: len(source)]

    found = task.measure(Real())
    assert found["coverage"] == 1
    assert found["high_quality"] > 0.9
    random = task.measure(Constant(torch.full((next(batches)[1].shape[1],), 0.3)))
    assert random["coverage"] < 0.5
    worse = random[task.score_name] < found[task.score_name]
    assert worse == task.higher_is_better


def test_the_real_photographs_are_perfect_and_black_is_lost():
    task = TASKS["sr"]
    lr, hr = super_resolution.crop_pool((), super_resolution.HELD_OUT_PX, 48, True)

    class Same(nn.Module):
        def forward(self, source):
            assert torch.equal(source, lr)
            return (hr + 1e-3).clamp(0, 1)

    class Black(nn.Module):
        def forward(self, source):
            return torch.zeros_like(hr)

    real, black = task.measure(Same()), task.measure(Black())
    assert (real["coverage"], black["coverage"]) == (1, 0)
    assert real["sliced_wasserstein"] < 10 < black["sliced_wasserstein"]
    assert real["psnr_y"] > 45 > black["psnr_y"]


def test_the_classifier_knows_unseen_digits():
    images, classes = (part[-500:] for part in digits())
    right = (classifier()(images).argmax(1) == classes).float().mean()
    assert right > 0.93


def test_a_plan_may_bring_its_own_photographs(monkeypatch, tmp_path):
    """They are what a super-resolution task is made of."""
    monkeypatch.setattr(play, "train", lambda task, *others: {"folders": task.folders})
    monkeypatch.setattr(play, "DoneRow", lambda folders, **others: folders)
    plan = SHORT.model_copy(update={"data_folders": (tmp_path,)})
    assert play_cell(cell_of("sr/none/none/0"), plan) == (tmp_path,)
    write_images(tmp_path, 6, height=96, width=96)
    own, theirs = (super_resolution.crop_pool(f, 32, 8, False)[1] for f in ((tmp_path,), ()))
    assert not torch.equal(own, theirs)
