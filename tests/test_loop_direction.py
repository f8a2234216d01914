"""Loops whose D scores real images low, or whose real and fake images were taken for each other."""

import logging

import pytest
import torch

from counterpoise.records import Action
from loop_helpers import BATCH, Loop, scripted_balance


def train(loop, balance, turns, *, real_label=1.0, augmented_fake_first=False):
    labels = {"real": real_label, "fake": 1 - real_label}
    for _ in range(turns):
        real, noise = loop.batch()
        fake = loop.g(noise)
        images = {"real": real, "fake": fake.detach()}
        if augmented_fake_first:
            images = {"fake": images["fake"] * 0.9, "real": real}
        balance.d_step()
        loop.d_optimizer.zero_grad()
        answers = {name: loop.d(each) for name, each in images.items()}
        loss = sum(
            loop.criterion(each, torch.full((BATCH, 1), labels[name]))
            for name, each in answers.items()
        )
        loss.backward()
        loop.d_optimizer.step()
        balance.g_step()
        loop.g_optimizer.zero_grad()
        loop.criterion(loop.d(fake), torch.full((BATCH, 1), real_label)).backward()
        loop.g_optimizer.step()
    balance.end_step()


@pytest.mark.parametrize("how", [{"real_label": 0.0}, {"augmented_fake_first": True}])
def test_a_reversed_d_is_said_once_and_no_policy_acts_on_it(monkeypatch, caplog, how):
    torch.manual_seed(0)
    loop = Loop()
    balance, policy = scripted_balance(monkeypatch, loop, *[Action(g_steps=2)] * 100, check=True)
    with caplog.at_level(logging.WARNING, "counterpoise"):
        train(loop, balance, 40, **how)
    said = [each for each in caplog.records if "down on real images" in each.message]
    assert len(said) == 1
    assert len(policy.seen) < 40
    assert balance.action == Action()
    assert balance.loop_findings == []


@pytest.mark.parametrize("how", [{}, {"real_label": 0.9}])
def test_a_d_of_the_usual_direction_is_not(monkeypatch, caplog, how):
    torch.manual_seed(0)
    loop = Loop()
    balance, policy = scripted_balance(monkeypatch, loop)
    with caplog.at_level(logging.WARNING, "counterpoise"):
        train(loop, balance, 40, **how)
    assert len(policy.seen) == 40
    assert caplog.records == []
