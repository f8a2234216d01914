"""Which images of a loop are real and which G's, however the loop calls D."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import counterpoise as cp
from counterpoise.json_lines import read_json_lines
from loop_helpers import Loop, small_networks


class Conditional(nn.Module):
    """A D of labels and an image, and G's images in a tuple."""

    def __init__(self, d):
        super().__init__()
        self.d, self.embedding = d, nn.Embedding(10, 64)

    def forward(self, labels, image):
        return self.d(image + self.embedding(labels).view(-1, 1, 8, 8))


class Pair(nn.Module):
    """A D of a condition and an image of the same shape."""

    def __init__(self, d):
        super().__init__()
        self.d = d

    def forward(self, condition, image):
        return self.d(image + 0.1 * condition)


class Several(nn.Module):
    """A G that gives its images, and something else."""

    def __init__(self, g):
        super().__init__()
        self.g = g

    def forward(self, styles):
        return self.g(styles[0]), None


def alone(d, image, condition):
    return d(image)


def labelled(d, image, condition):
    return d(torch.arange(8), image)


def second(d, image, condition):
    return d(condition, image)


def behind(d, image, condition):
    return d(torch.cat([condition, image], 1))


def before(d, image, condition):
    return d(torch.cat([image, condition], 1))


def wide_d():
    d = small_networks()[1]
    d[0] = nn.Conv2d(2, 4, 4, 2, 1)
    return d


def scaled(images):
    return images * 0.9


# D's part: what D is, how it is called, and how the images come to it.
CASES = {
    "G gives a tuple": (lambda: small_networks()[1], alone, {"several": True}),
    "a condition before the channels": (wide_d, behind, {}),
    "a condition behind the channels": (wide_d, before, {}),
    "a condition as the first argument": (lambda: Pair(small_networks()[1]), second, {}),
    "labels as the first argument": (lambda: Conditional(small_networks()[1]), labelled, {}),
    "an R1 of the loop's own at augmented images": (
        lambda: small_networks()[1], alone, {"differentiated": True, "detached": False}),
}  # fmt: skip


@pytest.mark.parametrize("real_first", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_real_and_fake_are_told_apart(tmp_path, case, real_first):
    make_d, ask, how = CASES[case]
    loop = Loop()
    g, d = Several(loop.g) if how.get("several") else loop.g, make_d()
    d_optimizer = torch.optim.Adam(d.parameters(), 1e-3)
    balance = cp.Balance(
        g, d, loop.g_optimizer, d_optimizer,
        policy="none", check=True, sensors_every=1, run_dir=tmp_path / "run",
    )  # fmt: skip
    judged = []
    for _ in range(12):
        real, noise = loop.batch()
        condition = torch.rand_like(real)
        fake = g([noise])[0] if how.get("several") else g(noise)
        balance.d_step()
        d_optimizer.zero_grad()
        shown = fake.detach() if how.get("detached", True) else fake
        real.requires_grad_(how.get("differentiated", False))
        if how.get("differentiated"):
            real_shown, shown = scaled(real), scaled(shown)
        else:
            real_shown = real
        images = [real_shown, shown] if real_first else [shown, real_shown]
        answers = [ask(d, each, condition) for each in images]
        on_real, on_fake = answers if real_first else answers[::-1]
        (F.softplus(-on_real).mean() + F.softplus(on_fake).mean()).backward(retain_graph=True)
        d_optimizer.step()
        judged.append((float(on_real.detach().mean()), float(on_fake.detach().mean())))
        balance.g_step()
        loop.g_optimizer.zero_grad()
        F.softplus(-ask(d, fake, condition)).mean().backward()
        loop.g_optimizer.step()
    balance.close()
    # Not detached, G's gradients are a finding of their own.
    assert {finding.id for finding in balance.loop_findings} <= {"fake-not-detached"}
    rows, _ = read_json_lines(tmp_path / "run" / "signals.jsonl")
    assert len(rows) == 12
    for row, (on_real, on_fake) in zip(rows, judged, strict=True):
        assert row["real_logit_mean"] == pytest.approx(on_real, abs=1e-4)
        assert row["fake_logit_mean"] == pytest.approx(on_fake, abs=1e-4)
        assert row["d_fake_after"] is not None
    if case not in ("a condition before the channels", "a condition behind the channels"):
        assert rows[-1]["g_gradient_adversarial"] > 0
        assert rows[-1]["diversity_ratio"] > 0
