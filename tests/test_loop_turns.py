"""Turns that are not D's forward pass, its backward pass and its step; what reaches G by several
ways; D's that score real images low."""

import gc
import logging
import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from counterpoise.errors import UserError
from counterpoise.records import Action
from loop_helpers import BATCH, Loop, rows_of, same, scripted, small_networks, update
from loop_shapes import (
    LATE,
    Joined,
    a_step_for_each_half,
    accumulated,
    by_sum,
    d_begins_later,
    g_first_accumulated,
    late_by_name,
    one_pass_on_both,
    with_a_closure,
)

__all__ = ["scripted"]


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def warnings(caplog):
    """What a person is warned of, in the order in which it was said."""
    with caplog.at_level(logging.WARNING, "counterpoise"):
        yield lambda: [record.message for record in caplog.records]


def after_d(loop, balance):
    """Real images and G's, D's part of a turn being over."""
    real, fake = loop.images()
    balance.d_step()
    loop.d_part(real, fake)
    return real, fake


def test_a_turn_may_be_given_up(loop):
    """An exception that the loop goes on from, or a bad batch."""
    balance = loop.balance()
    for turn in range(5):
        if turn in (2, 3):
            balance.d_step()
        else:
            loop.turn(balance)
    balance.end_step()
    assert balance.step == 3


def test_what_cannot_be_done_before_d_has_judged_both_is_said(scripted, warnings, loop):
    rests = Action(d_steps=0, r1_weight=1.0)
    balance, policy = scripted(loop, Action(), rests, rests)
    loop.run(balance, 3, turn=a_step_for_each_half)
    assert len(policy.seen) == 3
    (message,) = warnings()
    assert "before D has judged both real and fake images" in message


def test_d_can_rest_where_its_part_is_a_closure(scripted, warnings, loop):
    balance, _ = scripted(loop, Action(), Action(d_steps=0))
    loop.run(balance, 1, turn=with_a_closure)
    before = [weight.clone() for weight in loop.d.parameters()]
    loop.run(balance, 1, turn=with_a_closure)
    assert same(before, list(loop.d.parameters()))
    assert not warnings()


def real_alone(loop, balance):
    real, fake = loop.images()
    balance.d_step()
    update(loop.d_optimizer, loop.g_loss(loop.d(real)))
    balance.g_step()
    loop.g_part(fake)


class OwnLoss(nn.Module):
    """A D that answers with its loss."""

    def __init__(self):
        super().__init__()
        self.d = small_networks()[1]

    def forward(self, images, label):
        return F.binary_cross_entropy_with_logits(self.d(images), label, reduction="none")


def own_loss(loop, balance):
    real, fake = loop.images()
    balance.d_step()
    ones = torch.ones(len(real), 1)
    update(loop.d_optimizer, (loop.d(real, ones) + loop.d(fake.detach(), 0 * ones)).mean())
    balance.g_step()
    update(loop.g_optimizer, loop.d(fake, ones).mean())


@pytest.mark.parametrize(("d", "turn"), [(None, real_alone), (OwnLoss, own_loss)])
def test_what_cannot_be_read_is_a_run_without_signals(tmp_path, warnings, d, turn):
    """A person is told once, with the line; only a policy that acts needs to know."""
    loop = Loop(d=d and d())
    with loop.balance(run_dir=tmp_path / "run") as balance:
        loop.run(balance, 8, turn=turn)
        assert balance.step == 8
        assert str(balance.diagnosis())
    (message,) = warnings()
    assert re.match(r".*loop_helpers\.py:\d+: .*step\.logits", message)
    assert all("g_loss" in row and "d_loss" not in row for row in rows_of(tmp_path / "run"))
    loop = Loop(d=d and d())
    with pytest.raises(UserError, match=r"step\.logits"), loop.balance("auto") as balance:
        loop.run(balance, 8, turn=turn)


@pytest.mark.parametrize(
    "turn",
    [d_begins_later, late_by_name(halves=False), late_by_name(halves=True)],
    ids=["read", "outputs named", "halves named"],
)
def test_a_d_that_starts_late_is_not_acted_on_before(scripted, caplog, turn):
    loop = Loop()
    balance, policy = scripted(loop, check=True)
    with caplog.at_level(logging.INFO, "counterpoise"):
        loop.run(balance, 16, turn=turn)
    assert [signals.step for signals in policy.seen] == list(range(LATE + 1, 17))
    assert [each for each in caplog.messages if f"begins to learn in step {LATE + 1}" in each]
    assert balance.loop_findings == []


def test_batches_whose_gradients_are_added_up_are_one_turn(scripted):
    """Also where G comes first."""
    for first in (accumulated, g_first_accumulated):
        loop = Loop()
        balance, policy = scripted(loop)
        loop.run(balance, 21, turn=first)
        assert len(policy.seen) in (5, 6)


def test_r1_is_recorded_where_batches_are_added_up_too(scripted, tmp_path):
    loop = Loop()
    balance, _ = scripted(loop, Action(r1_weight=0.1), run_dir=tmp_path / "run", log_every=1)
    loop.run(balance, 12, turn=accumulated)
    balance.close()
    first, *others = rows_of(tmp_path / "run")
    assert first["d_penalty"] > 0
    assert not any(row["d_penalty"] for row in others)


def test_training_d_alone_for_long_keeps_no_batches(loop):
    balance = loop.balance()
    tensors = []
    for parts in (3, 10):
        for _ in range(parts):
            after_d(loop, balance)
        while gc.collect():  # also what other tests have left behind
            pass
        tensors.append(sum(issubclass(type(each), Tensor) for each in gc.get_objects()))
    assert tensors[0] == tensors[1]
    balance.close()


def test_an_export_between_turns_is_no_part_of_the_loop(loop):
    balance = loop.balance()
    for _ in range(2):
        loop.turn(balance)
        balance.end_step()
        torch.export.export(loop.g, (torch.randn(BATCH, 4),))
    assert balance.step == 2


def test_networks_may_be_asked_inside_of_functions_of_torch(loop):
    balance = loop.balance()
    for _ in range(2):
        real, fake = after_d(loop, balance)
        torch.func.grad(lambda images: loop.d(images).sum())(real)
        with balance.g_step() as step:
            answers = checkpoint(loop.d, fake, use_reentrant=True)
            update(loop.g_optimizer, loop.g_loss(answers))
            assert step.backwards == 1
    assert balance.step == 2


def test_cycle_gan_with_two_pairs_and_one_optimizer_of_both_generators(tmp_path):
    """Two Balances side by side, whose parts overlap and which share an optimizer."""

    loops = [Loop(g=small_networks(seed)[0], d=Joined(by_sum)) for seed in (1, 2)]
    shared = torch.optim.Adam([p for loop in loops for p in loop.g.parameters()], 1e-3)
    balances = []
    for name, loop in zip("ab", loops, strict=True):
        loop.g_optimizer = shared
        balances.append(loop.balance(check=True, sensors_every=1, run_dir=tmp_path / name))
    for _ in range(10):
        real, noise = loops[0].batch()
        fakes = [loop.g(noise) for loop in loops]
        for balance, loop, fake in zip(balances, loops, fakes, strict=True):
            with balance.d_step():
                on_real = loop.d(condition=real, image=real)
                update(loop.d_optimizer, loop.d_loss(on_real, loop.d(real, fake.detach())))
        # Not nested: the first to begin is the first to end.
        for balance in balances:
            balance.g_step()
        parts = zip(loops, fakes, strict=True)
        update(shared, sum(loop.g_loss(loop.d(real, image=fake)) for loop, fake in parts))
        for balance in balances:
            balance.end_step()
    for balance, name in zip(balances, "ab", strict=True):
        balance.close()
        assert balance.loop_findings == []
        rows = rows_of(tmp_path / name)
        assert len(rows) == 10
        assert all(row["g_updated"] and row["d_updated"] for row in rows)
        # D needs its condition, so it cannot be asked beside its training.
        assert "auc_quantised" not in rows[9]
        assert rows[9]["diversity_ratio"] > 0


def share(g_part):
    """The readings after a turn whose G part is `g_part(loop, fake, real)`."""
    loop = Loop()
    balance = loop.balance(sensors_every=1)
    torch.manual_seed(1)
    real, fake = after_d(loop, balance)
    balance.g_step()
    g_part(loop, fake, real)
    balance.end_step()
    return balance.readings


def test_ds_share_is_the_gradient_at_gs_output():
    expected = {}

    def g_part(loop, fake, real):
        terms = {"content": (fake - real).abs().mean(), "adversarial": -loop.d(fake).mean()}
        # Those asked for by the loop itself, as for VQGAN's adaptive weight, are not added.
        expected.update(
            (name, float(torch.autograd.grad(term, fake, retain_graph=True)[0].norm()))
            for name, term in terms.items()
        )
        update(loop.g_optimizer, sum(terms.values()))

    readings = share(g_part)
    assert readings.g_gradient_adversarial == pytest.approx(expected["adversarial"], rel=1e-5)
    assert readings.g_gradient_content == pytest.approx(expected["content"], rel=1e-5)


def test_batches_of_one_step_of_g_are_added_up():
    def in_two(loop, fake, real):
        for _ in range(2):
            (loop.g_loss(loop.d(fake)) / 2).backward(retain_graph=True)
        loop.g_optimizer.step()

    accumulated, whole = share(in_two), share(lambda loop, fake, real: loop.g_part(fake))
    assert accumulated.g_gradient_content == pytest.approx(0, abs=1e-6)
    # D's spectral normalisation takes a step in each pass.
    expected = pytest.approx(whole.g_gradient_adversarial, rel=1e-4)
    assert accumulated.g_gradient_adversarial == expected


def test_batches_of_several_sizes_show_no_share():
    def g_part(loop, fake, real):
        for count in (8, 5):
            loop.g_loss(loop.d(loop.g(torch.randn(count, 4)))).backward()
        loop.g_optimizer.step()

    readings = share(g_part)
    assert readings.g_gradient_adversarial is None
    assert readings.g_gradient_norm > 0


@pytest.mark.parametrize("is_named", [False, True])
def test_the_adversarial_weight_scales_what_reaches_g(scripted, is_named):
    """Beside a content term, whether the loop names its adversarial term or not."""

    def turn(loop, balance, scale=1.0):
        torch.manual_seed(3)
        real, fake = after_d(loop, balance)
        with balance.g_step() as step:
            loop.g_optimizer.zero_grad()
            term = scale * loop.g_loss(loop.d(fake))
            term = step.adversarial(term) if is_named else term
            (term + (fake - real).square().mean()).backward()
            kept = [weight.grad.clone() for weight in loop.g.parameters()]
            loop.g_optimizer.step()
        return kept

    loop, reference, untouched = Loop(), Loop(), Loop()
    plain, _ = scripted(untouched, Action(), sensors_every=1)
    turn(untouched, plain)
    balance, _ = scripted(loop, Action(adversarial_weight_scale=4.0), sensors_every=1)
    got = turn(loop, balance)
    torch.testing.assert_close(got, turn(reference, reference.balance(), 4.0))
    scaled, unscaled = balance.readings, plain.readings
    assert unscaled.g_gradient_content > 0
    assert scaled.g_gradient_content == pytest.approx(unscaled.g_gradient_content, rel=1e-3)
    assert scaled.g_gradient_adversarial == pytest.approx(4 * unscaled.g_gradient_adversarial)
    assert (scaled.g_adversarial_scale, unscaled.g_adversarial_scale) == (4, 1)
    assert scaled.g_gradient_unscaled == pytest.approx(unscaled.g_gradient_unscaled)


def test_d_is_asked_about_held_out_images_as_it_sees_those_of_its_training(scripted, loop):
    seen = []
    loop.d.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    held_out = torch.zeros(BATCH + 1, 1, 8, 8)
    noisy = [Action(noise_std=3.0)] * 2
    balance, _ = scripted(loop, *noisy, sensors_every=1, held_out=held_out)
    loop.run(balance, 2)
    (first, second) = [images for images in seen if len(images) == BATCH + 1]
    # What is done to D's inputs follows the action of the turn before.
    assert torch.equal(first, held_out)
    assert second.std().item() == pytest.approx(3, rel=0.2)


def labelled(real_label, *, augmented_fake_first=False):
    """A turn with a label of real images, the other one being that of G's."""

    def turn(loop, balance):
        real, fake = loop.images()
        balance.d_step()
        if augmented_fake_first:
            on_fake, on_real = loop.d(fake.detach() * 0.9), loop.d(real)
        else:
            on_real, on_fake = loop.d(real), loop.d(fake.detach())
        halves = ((on_real, real_label), (on_fake, 1 - real_label))
        loss = sum(loop.criterion(each, torch.full_like(each, label)) for each, label in halves)
        update(loop.d_optimizer, loss)
        balance.g_step()
        on_fake = loop.d(fake)
        update(loop.g_optimizer, loop.criterion(on_fake, torch.full_like(on_fake, real_label)))

    return turn


@pytest.mark.parametrize(
    ("turn", "is_reversed"),
    [
        (labelled(0.0), True),
        (labelled(1.0, augmented_fake_first=True), False),
        (labelled(0.9), False),
    ],
)
def test_a_reversed_d_is_said_once_and_no_policy_acts_on_it(
    scripted, warnings, loop, turn, is_reversed
):
    balance, policy = scripted(loop, *[Action(g_learning_rate_scale=0.5)] * 100, check=True)
    loop.run(balance, 40, turn=turn)
    assert len([each for each in warnings() if "down on real images" in each]) == is_reversed
    assert (len(policy.seen) < 40) == is_reversed
    assert (balance.action == Action()) == is_reversed
    assert balance.loop_findings == []


@pytest.mark.parametrize("objective", [None, "bce"])
@pytest.mark.parametrize("sigmoid", [False, True])
def test_the_objective_of_one_pass_on_both_is_read(sigmoid, objective):
    loop = Loop(sigmoid=sigmoid)
    balance = loop.balance(objective=objective)
    loop.run(balance, 1, turn=one_pass_on_both)
    read = {"name": "non-saturating", "probabilities": sigmoid}
    assert balance.state_dict()["objective"] == read


def test_one_pass_on_both_may_be_relativistic(loop):
    balance = loop.balance()
    real, noise = loop.batch()
    with balance.d_step() as step:
        on_real, on_fake = loop.d(torch.cat([real, loop.g(noise).detach()])).chunk(2)
        step.logits(real=on_real, fake=on_fake)
        update(loop.d_optimizer, F.softplus(on_fake - on_real).mean())
    assert balance.state_dict()["objective"]["name"] == "relativistic-paired"


def test_a_policy_that_the_objective_rules_out_is_refused(loop):
    by_output = {"policy_options": {"measure": "mean-output"}}
    for policy, options in (
        ("threshold", by_output | {"objective": "hinge"}),
        ("loss-gate", {"objective": "relativistic-average"}),
    ):
        with loop.balance(policy, **options) as balance, pytest.raises(UserError):
            loop.run(balance, 1)
    with loop.balance("threshold", **by_output, objective="bce") as balance:
        loop.run(balance, 1)
