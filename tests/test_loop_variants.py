"""Correct loops as people write them: nothing is reported, and D's outputs are told apart."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import counterpoise as cp
from counterpoise.errors import UserError
from counterpoise.json_lines import read_json_lines
from loop_helpers import Loop, Pyramid, small_networks


def test_least_squares_beyond_their_labels_are_no_bug():
    """Where D says less than 0 of fakes, its own loss and G's both pull that up."""
    loop = Loop()
    balance = loop.balance(check=True)
    with torch.no_grad():
        loop.d[-1].bias -= 2
    for group in loop.d_optimizer.param_groups:
        group["lr"] = 1e-5
    for _ in range(15):
        real, noise = loop.batch()
        fake = loop.g(noise)
        with balance.d_step():
            loop.d_optimizer.zero_grad()
            ((loop.d(real) - 1).square().mean() + loop.d(fake.detach()).square().mean()).backward()
            loop.d_optimizer.step()
        with balance.g_step():
            loop.g_optimizer.zero_grad()
            (loop.d(fake) - 1).square().mean().backward()
            loop.g_optimizer.step()
    assert balance.loop_findings == []


def labelled(outputs, value):
    return F.binary_cross_entropy_with_logits(outputs, torch.full_like(outputs, value))


class Watched(Loop):
    """A loop with its Balance; `judged` is what D said on real and on fake images in a turn."""

    def __post_init__(self):
        super().__post_init__()
        self.judged = []

    def start(self, run_dir, **options):
        self.balance_ = self.balance(run_dir=run_dir, check=True, sensors_every=3, **options)
        return self.balance_

    def note(self, real, fake):
        self.judged.append((float(real.detach().mean()), float(fake.detach().mean())))


def dcgan_tutorial(w):
    """Two backward passes, one for each half; the fake is made in between."""
    real, noise = w.batch()
    w.balance_.d_step()
    w.d.zero_grad()
    on_real = w.d(real).view(-1)
    labelled(on_real, 1.0).backward()
    fake = w.g(noise)
    on_fake = w.d(fake.detach()).view(-1)
    labelled(on_fake, 0.0).backward()
    w.d_optimizer.step()
    w.note(on_real, on_fake)
    w.balance_.g_step()
    w.g.zero_grad()
    labelled(w.d(fake).view(-1), 1.0).backward()
    w.g_optimizer.step()


def generator_first(w):
    """PyTorch-GAN's order: the images of G's part are D's fakes afterwards."""
    real, noise = w.batch()
    w.balance_.g_step()
    w.g_optimizer.zero_grad()
    fake = w.g(noise)
    labelled(w.d(fake), 1.0).backward()
    w.g_optimizer.step()
    w.balance_.d_step()
    w.d_optimizer.zero_grad()
    on_real, on_fake = w.d(real), w.d(fake.detach())
    ((labelled(on_real, 1.0) + labelled(on_fake, 0.0)) / 2).backward()
    w.d_optimizer.step()
    w.note(on_real, on_fake)


def wgan_gp(w):
    """Several steps of D with a gradient penalty, the fake before the real."""
    for critic_step in range(3):
        real, noise = w.batch()
        with w.balance_.d_step():
            w.d_optimizer.zero_grad()
            with torch.no_grad():
                fake = w.g(noise)
            on_fake, on_real = w.d(fake), w.d(real)
            mix = torch.rand(len(real), 1, 1, 1)
            between = (mix * real + (1 - mix) * fake).requires_grad_()
            (slope,) = torch.autograd.grad(w.d(between).sum(), between, create_graph=True)
            penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
            (on_fake.mean() - on_real.mean() + 10 * penalty).backward()
            w.d_optimizer.step()
        if not critic_step:
            w.note(on_real, on_fake)
    with w.balance_.g_step():
        w.g_optimizer.zero_grad()
        (-w.d(w.g(w.batch()[1])).mean()).backward()
        w.g_optimizer.step()


def esrgan(w):
    """Relativistic, with a content loss, and D's gradients switched off in G's part."""
    real, noise = w.batch()
    w.balance_.g_step()
    w.d.requires_grad_(False)
    w.g_optimizer.zero_grad()
    fake = w.g(noise)
    on_real, on_fake = w.d(real).detach(), w.d(fake)
    adversarial = labelled(on_real - on_fake.mean(), 0.0) + labelled(on_fake - on_real.mean(), 1.0)
    ((fake - real).abs().mean() + 5e-3 * adversarial / 2).backward()
    w.g_optimizer.step()
    w.d.requires_grad_(True)
    w.balance_.d_step()
    w.d_optimizer.zero_grad()
    on_fake = w.d(fake).detach()
    on_real = w.d(real)
    (labelled(on_real - on_fake.mean(), 1.0) * 0.5).backward()
    on_fake = w.d(fake.detach())
    (labelled(on_fake - on_real.detach().mean(), 0.0) * 0.5).backward()
    w.d_optimizer.step()
    w.note(on_real, on_fake)


def stylegan_lazy_r1(w):
    """Fresh noise for each part, and R1 as a part of its own every second turn."""
    real, noise = w.batch()
    with w.balance_.d_step():
        w.d_optimizer.zero_grad()
        on_fake = w.d(w.g(noise).detach())
        F.softplus(on_fake).mean().backward()
        on_real = w.d(real)
        F.softplus(-on_real).mean().backward()
        if w.balance_.step % 2:
            image = real.clone().requires_grad_()
            (slope,) = torch.autograd.grad(w.d(image).sum(), image, create_graph=True)
            slope.square().sum((1, 2, 3)).mean().backward()
        w.d_optimizer.step()
    w.note(on_real, on_fake)
    with w.balance_.g_step():
        w.g_optimizer.zero_grad()
        F.softplus(-w.d(w.g(torch.randn_like(noise)))).mean().backward()
        w.g_optimizer.step()


def image_buffer(w):
    """Fakes of earlier turns are mixed in: they are known by their place, after the real ones."""
    real, noise = w.batch()
    fake = w.g(noise)
    w.kept = [*getattr(w, "kept", [fake.detach()])[-2:], fake.detach()]
    with w.balance_.d_step():
        w.d_optimizer.zero_grad()
        on_real, on_fake = w.d(real), w.d(torch.cat([w.kept[0][:4], fake.detach()[4:]]))
        loss = (on_real - 1).square().mean() + on_fake.square().mean()
        loss.backward()
        w.d_optimizer.step()
    w.note(on_real, on_fake)
    with w.balance_.g_step():
        w.g_optimizer.zero_grad()
        (w.d(fake) - 1).square().mean().backward()
        w.g_optimizer.step()
    if w.balance_.step % 5 == 0:
        w.g.eval()
        with torch.no_grad():
            w.g(torch.zeros(2, 4))  # the same samples again and again
        w.g.train()


@pytest.mark.parametrize(
    ("turn", "objective"),
    [
        (dcgan_tutorial, "non-saturating"),
        (generator_first, "non-saturating"),
        (wgan_gp, "wgan"),
        (esrgan, None),
        (stylegan_lazy_r1, "non-saturating"),
        (image_buffer, "lsgan"),
    ],
)
def test_correct_loops_have_no_findings(tmp_path, turn, objective):
    torch.manual_seed(0)
    loop = Watched()
    given = {} if objective else {"objective": "relativistic-average"}
    balance = loop.start(tmp_path / "run", **given)
    for _ in range(25):
        turn(loop)
    balance.close()
    assert [str(finding) for finding in balance.loop_findings] == []
    rows, _ = read_json_lines(tmp_path / "run" / "signals.jsonl")
    # A loop that begins with G ends in the middle of a turn.
    assert len(rows) == 25 - (turn in (generator_first, esrgan))
    for row, (on_real, on_fake) in zip(rows, loop.judged, strict=False):
        assert row["real_logit_mean"] == pytest.approx(on_real, abs=1e-4)
        assert row["fake_logit_mean"] == pytest.approx(on_fake, abs=1e-4)
        assert row["d_updated"]
        assert row["g_updated"]
    assert rows[2]["g_gradient_adversarial"] > 0
    form = objective or "relativistic-average"
    assert f"form: {form}" in (tmp_path / "run" / "config.yaml").read_text()


def test_esrgan_shows_its_objective_only_where_both_are_in_the_graph():
    """One half sees the other's detached mean, as BCE does: such a loop names its objective."""
    loop = Watched()
    balance = loop.start(None)
    esrgan(loop)
    balance.end_step()
    assert balance.state_dict()["objective"]["name"] in ("non-saturating", "relativistic-average")


class Conditional(nn.Module):
    """A D of an image and what it was made from, in keyword arguments."""

    def __init__(self, d):
        super().__init__()
        self.d = d

    def forward(self, image, condition):
        return self.d(image + 0.1 * condition)


def test_cycle_gan_with_two_pairs_and_one_optimizer_of_both_generators(tmp_path):
    """Two Balances side by side, whose parts overlap and which share an optimizer."""
    (g_a, d_a), (g_b, d_b) = small_networks(1), small_networks(2)
    d_a, d_b = Conditional(d_a), Conditional(d_b)
    g_optimizer = torch.optim.Adam([*g_a.parameters(), *g_b.parameters()], 1e-3)
    optimizers = [torch.optim.Adam(d.parameters(), 1e-3) for d in (d_a, d_b)]
    balances = [
        cp.Balance(g, d, g_optimizer, optimizer, policy="none", check=True, sensors_every=1,
                   run_dir=tmp_path / name)
        for name, g, d, optimizer in zip("ab", (g_a, g_b), (d_a, d_b), optimizers, strict=True)
    ]  # fmt: skip
    for _ in range(10):
        real, noise = torch.rand(8, 1, 8, 8), torch.randn(8, 4)
        fakes = [g_a(noise), g_b(noise)]
        for balance, d, optimizer, fake in zip(
            balances, (d_a, d_b), optimizers, fakes, strict=True
        ):
            with balance.d_step():
                optimizer.zero_grad()
                on_real = d(image=real, condition=real)
                on_fake = d(fake.detach(), condition=real)
                ((on_real - 1).square().mean() + on_fake.square().mean()).backward()
                optimizer.step()
        # Not nested: the first to begin is the first to end.
        balances[0].g_step()
        balances[1].g_step()
        g_optimizer.zero_grad()
        parts = zip((d_a, d_b), fakes, strict=True)
        sum((d(fake, real) - 1).square().mean() for d, fake in parts).backward()
        g_optimizer.step()
        balances[0].end_step()
        balances[1].end_step()
    for balance, name in zip(balances, "ab", strict=True):
        balance.close()
        assert balance.loop_findings == []
        rows, _ = read_json_lines(tmp_path / name / "signals.jsonl")
        assert len(rows) == 10
        assert all(row["g_updated"] and row["d_updated"] for row in rows)
        # D needs its condition, so it cannot be asked beside its training.
        assert "auc_quantised" not in rows[9]
        assert rows[9]["diversity_ratio"] > 0
    assert "step" not in vars(g_optimizer)


def test_a_d_of_several_outputs_is_told_to_name_them():
    loop = Loop()
    d = Pyramid(loop.d)
    balance = cp.Balance(loop.g, d, loop.g_optimizer, loop.d_optimizer, policy="none")

    def half(real, fake):
        return sum(labelled(o, 1.0) for o in real) + sum(labelled(o, 0.0) for o in fake)

    real, noise = loop.batch()
    with pytest.raises(UserError, match=r"step\.logits"), balance.d_step():
        half(d(real), d(loop.g(noise).detach())).backward()
        loop.d_optimizer.step()
    with balance.d_step() as step:
        on_real, on_fake = d(real), d(loop.g(noise).detach())
        step.logits(real=torch.cat(on_real, 1), fake=torch.cat(on_fake, 1))
        half(on_real, on_fake).backward()
        loop.d_optimizer.step()
    with balance.g_step() as step:
        on_fake = d(loop.g(noise))
        step.logits(fake=torch.cat(on_fake, 1))
        sum(labelled(o, 1.0) for o in on_fake).backward()
        loop.g_optimizer.step()
    assert balance.step == 1
