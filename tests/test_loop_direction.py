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


@pytest.mark.parametrize(
    ("how", "is_reversed"),
    [
        ({"real_label": 0.0}, True),
        ({"augmented_fake_first": True}, True),
        ({}, False),
        ({"real_label": 0.9}, False),
    ],
)
def test_a_reversed_d_is_said_once_and_no_policy_acts_on_it(monkeypatch, caplog, how, is_reversed):
    torch.manual_seed(0)
    loop = Loop()
    balance, policy = scripted_balance(monkeypatch, loop, *[Action(g_steps=2)] * 100, check=True)
    with caplog.at_level(logging.WARNING, "counterpoise"):
        train(loop, balance, 40, **how)
    assert sum("down on real images" in each.message for each in caplog.records) == is_reversed
    assert (len(policy.seen) < 40) == is_reversed
    assert (balance.action == Action()) == is_reversed
    assert balance.loop_findings == []
