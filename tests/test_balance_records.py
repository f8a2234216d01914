"""What `cp.Balance` reads and records of a hand-written loop: its objective, rows, run folder."""

import logging

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from counterpoise.balance.policies import POLICIES
from counterpoise.errors import UserError
from counterpoise.game.objective import GameObjective, logits_of
from counterpoise.json_lines import read_json_lines
from counterpoise.logs.read import read_log
from loop_helpers import Loop, bce, rows_of, update


def test_rows_hold_what_the_loop_computed(tmp_path):
    loop = Loop()
    balance = loop.balance(run_dir=tmp_path / "run", sensors_every=2)
    torch.manual_seed(5)
    expected = []
    for _ in range(3):
        real, fake = loop.images()
        with balance.d_step():
            loop.d_part(real, fake)
        with torch.no_grad():
            loop.d.eval()  # spectral normalisation stands still
            expected.append(loop.d(fake).sigmoid().mean().item())
            loop.d.train()
        with balance.g_step():
            loop.g_part(fake)
    balance.close()
    rows = rows_of(tmp_path / "run")
    assert [row["step"] for row in rows] == [1, 2, 3]
    for row, after in zip(rows, expected, strict=True):
        assert row["d_fake_after"] == pytest.approx(after, abs=0.02)
        assert row["d_fake_before"] != row["d_fake_after"]
        assert row["d_updated"]
        assert row["g_updated"]
        assert row["g_loss"] > 0
        assert (row["g_learning_rate"], row["d_learning_rate"]) == (1e-3, 2e-3)
        assert row["d_equilibrium_loss"] == pytest.approx(1.386294)
    assert "g_gradient_norm" not in rows[0]
    assert rows[1]["g_gradient_adversarial"] > 0
    assert rows[1]["g_gradient_content"] == pytest.approx(0, abs=1e-6)  # there is no other term
    assert -1 <= rows[1]["d_gradient_cosine"] <= 1


def lecam(real, fake):
    return 0.3 * (torch.relu(real + 0.1).square().mean() + torch.relu(0.1 - fake).square().mean())


@pytest.mark.parametrize(
    ("name", "d_loss"),
    [
        ("non-saturating", lambda r, f: bce(r, 1.0) + bce(f, 0.0)),
        ("non-saturating", lambda r, f: (F.softplus(-r) + F.softplus(f)).mean()),
        ("non-saturating", lambda r, f: nn.BCELoss()(r.sigmoid().view(-1), torch.ones(8))),
        ("lsgan", lambda r, f: nn.MSELoss()(r, torch.ones(8, 1)) + nn.MSELoss()(f, 0 * f)),
        ("lsgan", lambda r, f: ((r - 1) ** 2).mean() + (f**2).mean()),
        ("lsgan-on-sigmoid", lambda r, f: ((r.sigmoid() - 1) ** 2 + f.sigmoid() ** 2).mean()),
        ("hinge", lambda r, f: nn.ReLU()(1 - r).mean() + torch.relu(1 + f).mean()),
        ("hinge", lambda r, f: -torch.min(r - 1, torch.zeros_like(r)).mean()),
        ("wgan", lambda r, f: f.mean() - r.mean()),
        ("relativistic-average", lambda r, f: bce(r - f.mean(), 1.0) + bce(f - r.mean(), 0.0)),
        ("relativistic-paired", lambda r, f: F.softplus(f - r).mean()),
        ("lsgan", lambda r, f: ((r - 1) * (r - 1) + f * f).mean()),
        ("lsgan", lambda r, f: ((r - 1) ** 2).mean() + (f**2).mean() + lecam(r, f)),
        ("wgan", lambda r, f: f.mean() - r.mean() + 1e-3 * (r**2).mean()),
        ("hinge", lambda r, f: (torch.relu(1 - r) + torch.relu(1 + f)).mean() + lecam(r, f)),
        ("hinge", lambda r, f: torch.relu(1 - r)[:, 0].mean() + torch.relu(1 + f).mean()),
        ("hinge", lambda r, f: F.relu(1 - F.avg_pool1d(r, 1)).mean() + F.relu(1 + f).mean()),
        ("wgan", lambda r, f: f.topk(4, 0).values.mean() - r.sort(0).values.mean()),
        ("non-saturating", lambda r, f: (1 + (-r).exp()).log().mean() + bce(f, 0.0)),
        ("non-saturating", lambda r, f: F.binary_cross_entropy_with_logits(
            torch.cat([r, f]), torch.cat([torch.ones_like(r), torch.zeros_like(f)]))),
        (None, lambda r, f: F.l1_loss(r, torch.ones_like(r)) + F.l1_loss(f, torch.zeros_like(f))),
        (None, lambda r, f: F.cross_entropy(torch.cat([r, -r], 1), torch.zeros(8).long())),
    ],
)  # fmt: skip
def test_the_objective_is_read_from_ds_loss_or_is_to_be_named(tmp_path, name, d_loss):
    loop = Loop()
    balance = loop.balance("auto" if name is None else "none", run_dir=tmp_path / "run")
    real, noise = loop.batch()

    def d_part():
        with balance.d_step():
            update(loop.d_optimizer, d_loss(loop.d(real), loop.d(loop.g(noise).detach())))

    if name is None:
        with pytest.raises(UserError, match="name it"):
            d_part()
        return
    d_part()
    with balance.g_step():
        pass
    balance.close()
    assert f"form: {name}" in (tmp_path / "run" / "config.yaml").read_text()
    assert balance.state_dict()["objective"]["probabilities"] is False
    assert rows_of(tmp_path / "run")[0]["g_updated"] is False


def penalised(d, real, fake):
    """R1 beside the loss, whose graph leads through the sigmoid's derivative."""
    real.requires_grad_()
    on_real, on_fake = d(real), d(fake)
    (gradient,) = torch.autograd.grad(on_real.sum(), real, create_graph=True)
    ones, zeros = torch.ones_like(on_real), torch.zeros_like(on_fake)
    losses = F.binary_cross_entropy(on_real, ones) + F.binary_cross_entropy(on_fake, zeros)
    return losses + gradient.square().mean()


def hooked(d, real, fake):
    d.register_full_backward_hook(lambda *_: None)
    on_real, on_fake = (d(images.requires_grad_()) for images in (real, fake))
    return torch.relu(1 - on_real).mean() + torch.relu(1 + on_fake).mean()


@pytest.mark.parametrize(
    ("sigmoid", "loss", "name"), [(True, penalised, "non-saturating"), (False, hooked, "hinge")]
)
def test_what_surrounds_d_does_not_hide_the_objective(sigmoid, loss, name):
    loop = Loop(sigmoid=sigmoid)
    balance = loop.balance()
    real, noise = loop.batch()
    with balance.d_step():
        update(loop.d_optimizer, loss(loop.d, real, loop.g(noise).detach()))
    assert balance.state_dict()["objective"] == {"name": name, "probabilities": sigmoid}


def test_probabilities_become_logits():
    logits = torch.tensor([-40.0, -20.0, -3.0, 0.0, 0.5, 8.0, 14.0])
    back = logits_of(logits.sigmoid())
    torch.testing.assert_close(back[:6], logits[:6], rtol=1e-4, atol=1e-4)
    assert back[6] == pytest.approx(14, abs=0.05)  # float32 keeps 1 - p to one part in 14 there
    assert logits_of(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([-41.45, 16.64], abs=0.01)
    objective = GameObjective.named("bce", probabilities=True)
    on_logits = GameObjective.named("bce", probabilities=False)
    real, fake = torch.randn(8, 1, 3, 3), torch.randn(8, 1, 3, 3)
    torch.testing.assert_close(
        objective.statistics(*map(objective.logits, (real.sigmoid(), fake.sigmoid()))),
        on_logits.statistics(real, fake),
    )
    flat = on_logits.statistics(real[:, 0, 0, 0], fake[:, 0, 0, 0])
    torch.testing.assert_close(flat, on_logits.statistics(real[:, :, :1, :1], fake[:, :, :1, :1]))


def test_logits_of_probabilities_have_two_finite_derivatives():
    logits = torch.tensor([-200.0, -60.0, -3.0, 0.0, 3.0, 16.0, 18.0, 200.0], requires_grad=True)
    back = logits_of(logits.sigmoid())
    torch.testing.assert_close(back.detach(), logits_of(logits.detach().sigmoid()))
    (first,) = torch.autograd.grad(back.sum(), logits, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), logits)
    # Where the sigmoid has rounded to 0 or 1, or nearly 0, nothing comes back; else they cancel.
    known = torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    torch.testing.assert_close(first.detach(), known, rtol=0.1, atol=1e-6)
    assert second.isfinite().all()


def test_run_is_readable_and_findings_are_said_once(tmp_path, caplog):
    loop = Loop()
    caplog.set_level(logging.INFO, "counterpoise")
    with loop.balance("loss-gate", run_dir=tmp_path / "run", log_every=10) as balance:
        loop.run(balance, 25)
        diagnosis = balance.diagnosis()
    assert (diagnosis.objective, diagnosis.rows) == ("non-saturating", 25)
    lines = (tmp_path / "run" / "train.log").read_text().splitlines()
    steps = [line.split("  ")[0] for line in lines if line.startswith("Step")]
    assert steps == ["Step: 10", "Step: 20"]
    (trace,) = read_log(tmp_path / "run")
    assert (trace.objective, trace.policy, len(trace)) == ("non-saturating", "loss-gate", 25)
    events, _ = read_json_lines(tmp_path / "run" / "events.jsonl")
    said = [event["message"] for event in events if event["kind"] == "finding"]
    assert len(said) == len(set(said))


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_runs_on_a_hand_written_loop(tmp_path, policy):
    loop = Loop(sigmoid=True)
    with loop.balance(policy, run_dir=tmp_path / "run", sensors_every=4, check=True) as balance:
        loop.run(balance, 9)
    rows = rows_of(tmp_path / "run")
    assert len(rows) == 9
    assert not any("non_finite" in row for row in rows)
    assert balance.loop_findings == []
    rates = [o.param_groups[0]["lr"] for o in (loop.g_optimizer, loop.d_optimizer)]
    assert rates == [1e-3, 2e-3]
