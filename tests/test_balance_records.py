"""What `cp.Balance` records of a hand-written loop: objective, rows, run folder, resumption."""

import json
import logging

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from counterpoise.anyloop.handle import Balance
from counterpoise.balance.policies import POLICIES
from counterpoise.errors import UserError
from counterpoise.game.objective import GameObjective, logits_of
from counterpoise.json_lines import read_json_lines
from counterpoise.logs.read import read_log
from loop_helpers import Loop


def rows_of(run):
    return read_json_lines(run / "signals.jsonl")[0]


def test_rows_hold_what_the_loop_computed(tmp_path):
    loop = Loop()
    balance = loop.balance(run_dir=tmp_path / "run", sensors_every=2)
    torch.manual_seed(5)
    expected = []
    for _ in range(3):
        real, noise = loop.batch()
        fake = loop.g(noise)
        with balance.d_step():
            loop.d_part(real, fake)
        with torch.no_grad():
            loop.d.eval()  # spectral normalisation stands still
            after = loop.d(fake).sigmoid().mean().item()
            loop.d.train()
        with balance.g_step():
            loop.g_part(fake)
        expected.append(after)
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


def test_several_steps_of_d_make_one_turn(tmp_path):
    loop = Loop()
    balance = loop.balance(run_dir=tmp_path / "run", objective="wgan")
    for _ in range(2):
        for _ in range(5):
            real, noise = loop.batch()
            with balance.d_step():
                loop.d_optimizer.zero_grad()
                (loop.d(loop.g(noise).detach()).mean() - loop.d(real).mean()).backward()
                loop.d_optimizer.step()
        with balance.g_step():
            loop.g_optimizer.zero_grad()
            (-loop.d(loop.g(noise)).mean()).backward()
            loop.g_optimizer.step()
    balance.close()
    rows = rows_of(tmp_path / "run")
    assert [row["step"] for row in rows] == [1, 2]
    # Fake images come first in this loop and are told apart by their memory.
    row = rows[0]
    assert row["d_loss"] == pytest.approx(row["fake_logit_mean"] - row["real_logit_mean"])


def bce(out, label):
    return F.binary_cross_entropy_with_logits(out, torch.full_like(out, label))


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
        ("wgan", lambda r, f: f.mean() - r.mean() + 1e-3 * (r * r).mean()),
        ("hinge", lambda r, f: (torch.relu(1 - r) + torch.relu(1 + f)).mean() + lecam(r, f)),
        ("hinge", lambda r, f: torch.relu(1 - r)[:, 0].mean() + torch.relu(1 + f).mean()),
        ("hinge", lambda r, f: F.relu(1 - F.avg_pool1d(r, 1)).mean() + F.relu(1 + f).mean()),
        ("wgan", lambda r, f: f.topk(4, 0).values.mean() - r.sort(0).values.mean()),
        ("non-saturating", lambda r, f: (1 + (-r).exp()).log().mean() + bce(f, 0.0)),
        ("non-saturating", lambda r, f: F.binary_cross_entropy_with_logits(
            torch.cat([r, f]), torch.cat([torch.ones_like(r), torch.zeros_like(f)]))),
    ],
)  # fmt: skip
def test_the_objective_is_read_from_ds_loss(tmp_path, name, d_loss):
    loop = Loop()
    balance = loop.balance(run_dir=tmp_path / "run")
    real, noise = loop.batch()
    with balance.d_step():
        d_loss(loop.d(real), loop.d(loop.g(noise).detach())).backward()
        loop.d_optimizer.step()
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
        loss(loop.d, real, loop.g(noise).detach()).backward()
        loop.d_optimizer.step()
    objective = balance.state_dict()["objective"]
    assert (objective["name"], objective["probabilities"]) == (name, sigmoid)


@pytest.mark.parametrize(
    "d_loss",
    [
        lambda r, f: F.l1_loss(r, torch.ones_like(r)) + F.l1_loss(f, torch.zeros_like(f)),
        lambda r, f: F.cross_entropy(torch.cat([r, -r], 1), torch.zeros(8).long()),
    ],
)
def test_an_objective_that_cannot_be_read_is_to_be_named(d_loss):
    loop = Loop()
    balance = loop.balance()
    real, noise = loop.batch()
    with pytest.raises(UserError, match="name it"), balance.d_step():
        d_loss(loop.d(real), loop.d(loop.g(noise).detach())).backward()
        loop.d_optimizer.step()


@pytest.mark.parametrize("objective", [None, "bce"])
@pytest.mark.parametrize("sigmoid", [False, True])
@pytest.mark.parametrize("cut", [lambda o: o.chunk(2), lambda o: (o[:8], o[8:])])
def test_the_objective_of_one_pass_on_both_is_read(cut, sigmoid, objective):
    loop = Loop(sigmoid)
    balance = loop.balance(objective=objective)
    real, noise = loop.batch()
    with balance.d_step() as step:
        outputs = loop.d(torch.cat([real, loop.g(noise).detach()]))
        on_real, on_fake = cut(outputs)
        step.logits(real=on_real, fake=on_fake)
        loop.criterion(outputs, torch.cat([torch.ones(8, 1), torch.zeros(8, 1)])).backward()
        loop.d_optimizer.step()
    read = {"name": "non-saturating", "probabilities": sigmoid}
    assert balance.state_dict()["objective"] == read


@pytest.mark.parametrize("cut", [lambda o: o.chunk(2), lambda o: (o[:8], o[8:])])
def test_one_pass_on_both_may_be_relativistic(cut):
    loop = Loop()
    balance = loop.balance()
    real, noise = loop.batch()
    with balance.d_step() as step:
        on_real, on_fake = cut(loop.d(torch.cat([real, loop.g(noise).detach()])))
        step.logits(real=on_real, fake=on_fake)
        F.softplus(on_fake - on_real).mean().backward()
        loop.d_optimizer.step()
    assert balance.state_dict()["objective"]["name"] == "relativistic-paired"


def test_probabilities_become_logits():
    logits = torch.tensor([-80.0, -20.0, -3.0, 0.0, 0.5, 8.0, 14.0])
    back = logits_of(logits.sigmoid())
    torch.testing.assert_close(back[:6], logits[:6], rtol=1e-4, atol=1e-4)
    assert back[6] == pytest.approx(14, abs=0.05)  # float32 keeps 1 - p to one part in 14 there
    assert logits_of(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([-87.34, 17.33], abs=0.01)
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
    with loop.balance("loss-gate", run_dir=tmp_path / "run", log_every=50) as balance:
        loop.run(balance, 120)
        diagnosis = balance.diagnosis()
    assert diagnosis.objective == "non-saturating"
    assert diagnosis.rows == 120
    lines = (tmp_path / "run" / "train.log").read_text().splitlines()
    assert [line.split("  ")[0] for line in lines if line.startswith("Step")] == [
        "Step: 50",
        "Step: 100",
    ]
    (trace,) = read_log(tmp_path / "run")
    assert (trace.objective, trace.policy, len(trace)) == ("non-saturating", "loss-gate", 120)
    events, _ = read_json_lines(tmp_path / "run" / "events.jsonl")
    said = [event["message"] for event in events if event["kind"] == "finding"]
    assert len(said) == len(set(said))


def test_amp_with_a_scaler_records_unscaled_losses(tmp_path):
    loop = Loop()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    balance = loop.balance(run_dir=tmp_path / "run", grad_scaler=scaler, sensors_every=1)
    real, noise = loop.batch()
    with balance.d_step(), torch.autocast("cpu", torch.bfloat16):
        loop.d_optimizer.zero_grad()
        on_real, on_fake = loop.d(real), loop.d(loop.g(noise).detach())
        loss = loop.criterion(on_real, torch.ones_like(on_real))
        loss = loss + loop.criterion(on_fake, torch.zeros_like(on_fake))
        scaler.scale(loss).backward()
        scaler.step(loop.d_optimizer)
    with balance.g_step(), torch.autocast("cpu", torch.bfloat16):
        loop.g_optimizer.zero_grad()
        on_fake = loop.d(loop.g(noise))
        g_loss = loop.criterion(on_fake, torch.ones_like(on_fake))
        scaler.scale(g_loss).backward()
        scaler.step(loop.g_optimizer)
    scaler.update()
    balance.close()
    (row,) = rows_of(tmp_path / "run")
    assert row["g_loss"] == pytest.approx(float(g_loss.detach()), rel=1e-3)
    assert row["d_updated"]
    assert row["g_gradient_norm"] < 10
    assert row["g_gradient_adversarial"] < 10


@pytest.mark.parametrize("policy", list(POLICIES))
def test_every_policy_runs_on_a_hand_written_loop(tmp_path, policy):
    loop = Loop(sigmoid=True)
    balance = loop.balance(policy, run_dir=tmp_path / "run", sensors_every=5, check=True)
    loop.run(balance, 40)
    balance.close()
    rows = rows_of(tmp_path / "run")
    assert len(rows) == 40
    assert not any("non_finite" in row for row in rows)
    assert balance.loop_findings == []
    assert (loop.d_optimizer.param_groups[0]["lr"], loop.g_optimizer.param_groups[0]["lr"]) == (
        2e-3,
        1e-3,
    )


def in_two_processes(rank, folder):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2
    )
    loop = Loop()
    g, d = (
        nn.parallel.DistributedDataParallel(n, broadcast_buffers=False) for n in (loop.g, loop.d)
    )
    loop.g, loop.d = g, d
    with loop.balance("accuracy-band", run_dir=folder / "run", sensors_every=2) as balance:
        loop.run(balance, 12, seed=rank)
    (folder / f"{rank}.json").write_text(
        json.dumps([balance.state_dict(), [float(p.detach().sum()) for p in loop.d.parameters()]])
    )
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_decide_alike_and_one_writes(tmp_path):
    torch.multiprocessing.spawn(in_two_processes, (tmp_path,), nprocs=2)
    one, other = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert one == other
    assert one[0]["readings"]["g_gradient_norm"] > 0
    assert len(rows_of(tmp_path / "run")) == 12


def test_points_have_no_range_to_leave():
    """Only images are stored in a range: a D that wins on points wins on where they lie."""
    torch.manual_seed(0)
    g, d = torch.nn.Linear(4, 2), torch.nn.Linear(2, 1)
    g_optimizer, d_optimizer = (torch.optim.Adam(net.parameters(), 1e-3) for net in (g, d))
    balance = Balance(g, d, g_optimizer, d_optimizer, objective="non-saturating", sensors_every=1)
    with balance:
        for _ in range(2):
            fake = g(torch.randn(8, 4)) + 10
            with balance.d_step() as step:
                d_optimizer.zero_grad()
                real_loss = F.softplus(-d(torch.rand(8, 2))).mean()
                step.loss(real=real_loss, fake=F.softplus(d(fake.detach())).mean()).backward()
                d_optimizer.step()
            with balance.g_step():
                g_optimizer.zero_grad()
                F.softplus(-d(fake)).mean().backward()
                g_optimizer.step()
    assert balance.readings.diversity_ratio is not None
    assert balance.readings.fake_out_of_range is None


def test_a_policy_that_the_objective_rules_out_is_refused():
    loop = Loop()
    for policy, options, objective, message in (
        ("threshold", {"measure": "mean-output"}, "hinge", "D.x. is no probability"),
        ("loss-gate", {}, "relativistic-average", "cannot be told apart"),
    ):
        balance = loop.balance(policy, policy_options=options, objective=objective)
        with pytest.raises(UserError, match=message):
            loop.run(balance, 1)
        balance.close()
    allowed = loop.balance("threshold", policy_options={"measure": "mean-output"}, objective="bce")
    loop.run(allowed, 1)
    allowed.close()
