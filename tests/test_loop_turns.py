"""Turns that are not D's forward pass, its backward pass and its step: closures, halves, turns
that the loop gives up."""

import gc
import logging

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from counterpoise.errors import UserError
from counterpoise.records import Action
from loop_helpers import BATCH, Loop, scripted_balance


def test_a_turn_may_be_given_up(caplog):
    """An exception that the loop goes on from, or a bad batch."""
    loop = Loop()
    balance = loop.balance()
    with caplog.at_level(logging.INFO, "counterpoise"):
        for turn in range(5):
            balance.d_step()
            if turn in (2, 3):
                continue
            real, noise = loop.batch()
            fake = loop.g(noise)
            loop.d_part(real, fake)
            balance.g_step()
            loop.g_part(fake)
        balance.end_step()
    assert balance.step == 3
    assert len([r for r in caplog.records if "D's part ended before" in r.message]) == 1


def with_a_closure(loop, real, fake):
    def closure():
        loop.d_optimizer.zero_grad()
        loss = loop.criterion(loop.d(real), torch.ones(8, 1))
        loss = loss + loop.criterion(loop.d(fake.detach()), torch.zeros(8, 1))
        loss.backward()
        return loss

    loop.d_optimizer.step(closure)


def with_a_step_for_each_half(loop, real, fake):
    for images, labels in ((real, torch.ones(8, 1)), (fake.detach(), torch.zeros(8, 1))):
        loop.d_optimizer.zero_grad()
        loop.criterion(loop.d(images), labels).backward()
        loop.d_optimizer.step()


@pytest.mark.parametrize("d_part", [with_a_closure, with_a_step_for_each_half])
def test_d_may_step_before_it_has_judged_both(monkeypatch, caplog, d_part):
    """It is watched as any other, and what the policy cannot do is said."""
    loop, bare = Loop(), Loop()
    rests = Action(d_steps=0, r1_weight=1.0)
    balance, policy = scripted_balance(monkeypatch, loop, Action(), rests, rests, check=True)
    with caplog.at_level(logging.WARNING, "counterpoise"):
        for each, watching in ((bare, None), (loop, balance)):
            torch.manual_seed(1)
            for _ in range(3):
                real, noise = each.batch()
                fake = each.g(noise)
                if watching:
                    watching.d_step()
                d_part(each, real, fake)
                if watching:
                    watching.g_step()
                each.g_part(fake)
        balance.end_step()
    assert all(map(torch.equal, bare.state(), loop.state()))
    assert len(policy.seen) == 3
    assert balance.state_dict()["objective"]["name"] == "non-saturating"
    assert balance.loop_findings == []
    messages = [record.message for record in caplog.records]
    assert len(messages) == 2
    assert all("before D has judged both real and fake images" in each for each in messages)


def test_a_step_before_the_backward_pass_is_found_as_what_it_is():
    loop = Loop()
    balance = loop.balance(check=True)
    for _ in range(21):
        real, noise = loop.batch()
        fake = loop.g(noise)
        balance.d_step()
        loop.d_optimizer.zero_grad()
        loss = loop.criterion(loop.d(real), torch.ones(8, 1))
        loss = loss + loop.criterion(loop.d(fake.detach()), torch.zeros(8, 1))
        loop.d_optimizer.step()
        loss.backward()
        balance.g_step()
        loop.g_part(fake)
    balance.close()
    assert "never-updated" in {finding.id for finding in balance.loop_findings}


def test_a_d_that_never_shows_both_is_still_said():
    loop = Loop()
    balance = loop.balance()
    balance.d_step()
    loop.criterion(loop.d(loop.batch()[0]), torch.ones(8, 1)).backward()
    loop.d_optimizer.step()
    with pytest.raises(UserError, match=r"no output of D on fake images.*step\.logits"):
        balance.g_step()
    balance.close()


def test_training_d_alone_for_long_keeps_no_batches():
    loop = Loop()
    balance = loop.balance()
    tensors = []
    for parts in (3, 10):
        for _ in range(parts):
            real, noise = loop.batch()
            balance.d_step()
            loop.d_part(real, loop.g(noise))
        gc.collect()
        tensors.append(sum(issubclass(type(each), Tensor) for each in gc.get_objects()))
    assert tensors[0] == tensors[1]
    balance.close()


def test_an_export_between_turns_is_no_part_of_the_loop():
    loop = Loop()
    balance = loop.balance()
    for _ in range(2):
        real, noise = loop.batch()
        balance.d_step()
        # Real images come first: nothing that G made in this part is there to compare with.
        loop.d(real)
        fake = loop.g(noise)
        loop.d_part(real, fake)
        balance.g_step()
        loop.g_part(fake)
        balance.end_step()
        torch.export.export(loop.g, (noise,))
    assert balance.step == 2


def after_d(loop, balance):
    """Real images and G's, D's part of a turn being over."""
    real, noise = loop.batch()
    fake = loop.g(noise)
    balance.d_step()
    loop.d_part(real, fake)
    return real, fake


def test_ds_outputs_may_be_run_back_through_in_gs_part():
    """As where both optimizers step at the end of a turn."""
    loop = Loop()
    balance = loop.balance()
    for _ in range(2):
        real, noise = loop.batch()
        fake = loop.g(noise)
        balance.d_step()
        loop.d_optimizer.zero_grad()
        on_real, on_fake = loop.d(real), loop.d(fake)
        ones, zeros = torch.ones_like(on_real), torch.zeros_like(on_fake)
        d_loss = loop.criterion(on_real, ones) + loop.criterion(on_fake, zeros)
        d_loss.backward(retain_graph=True)
        balance.g_step()
        loop.g_optimizer.zero_grad()
        loop.criterion(on_fake, ones).backward()
        loop.d_optimizer.step()
        loop.g_optimizer.step()
    balance.end_step()
    assert balance.step == 2


@pytest.mark.parametrize("given", [lambda g: g.parameters(), lambda g: dict(g.named_parameters())])
def test_a_backward_pass_may_be_for_some_inputs(given):
    loop = Loop()
    balance = loop.balance(check=True)
    _, fake = after_d(loop, balance)
    balance.g_step()
    loop.g_optimizer.zero_grad()
    loss = loop.criterion(loop.d(fake), torch.ones(BATCH, 1))
    try:
        loss.backward(inputs=given(loop.g))
    except (TypeError, AttributeError, RuntimeError):
        if torch.__version__ >= (2, 13):
            raise
        pytest.skip("this torch takes no dictionary of inputs")
    loop.g_optimizer.step()
    balance.end_step()
    assert [finding.id for finding in balance.loop_findings] == []


def test_a_checkpoint_inside_of_d_is_no_backward_pass_of_the_loop():
    loop = Loop()
    balance = loop.balance()
    _, fake = after_d(loop, balance)
    with balance.g_step() as step:
        loop.g_optimizer.zero_grad()
        answers = checkpoint(loop.d, fake, use_reentrant=True)
        loss = loop.criterion(answers, torch.ones_like(answers))
        loss.backward()
        loop.g_optimizer.step()
        assert step.phase.backwards == 1


def test_networks_may_be_asked_inside_of_functions_of_torch():
    loop = Loop()
    balance = loop.balance()
    for _ in range(2):
        real, fake = after_d(loop, balance)
        torch.func.grad(lambda images: loop.d(images).sum())(real)
        balance.g_step()
        loop.g_part(fake)
    balance.end_step()
    assert balance.step == 2


def test_a_weight_that_cannot_be_put_on_gs_term_is_said(monkeypatch, caplog):
    loop = Loop()
    balance, _ = scripted_balance(monkeypatch, loop, Action(adversarial_weight_scale=0.5))
    with caplog.at_level(logging.WARNING, "counterpoise"):
        _, fake = after_d(loop, balance)
        balance.g_step()
        loss = loop.criterion(loop.d(fake), torch.ones(BATCH, 1))
        weights = list(loop.g.parameters())
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight.grad = gradient
        loop.g_optimizer.step()
        balance.end_step()
    assert any("put the term through step.adversarial" in each.message for each in caplog.records)
