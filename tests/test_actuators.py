"""What is done to D's inputs, D's loss, and the state that one can come back to."""

import copy

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from counterpoise.actuators.d_terms import lecam_penalty
from counterpoise.actuators.inputs import BRIGHTNESS, InputChange, augment
from counterpoise.actuators.snapshot import Snapshot
from counterpoise.errors import UserError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=4, size=16, seed=0):
    return torch.rand(count, 3, size, size, generator=generator(seed))


def test_noise_has_its_standard_deviation_and_a_gradient():
    batch = images(count=64).requires_grad_()
    assert InputChange().real(batch) is batch
    noisy = InputChange(noise_std=0.3).real(batch)
    noise = (noisy - batch).detach().numpy().ravel()
    assert noise.std() == pytest.approx(0.3, rel=0.02)
    assert abs(noise.mean()) < 0.01
    assert stats.kstest(noise[:5000] / 0.3, "norm").pvalue > 1e-3
    noisy.sum().backward()
    assert torch.equal(batch.grad, torch.ones_like(batch))


def test_a_change_is_the_same_for_pairs_and_each_time_it_is_asked_for():
    batch = images()
    change = InputChange(noise_std=0.1, augment_probability=0.7, seed=3, batch=5)
    assert torch.equal(change.fake(batch), change.fake(batch))
    other = InputChange(noise_std=0.1, augment_probability=0.7, seed=3, batch=6)
    assert not torch.equal(change.fake(batch), other.fake(batch))
    # Pairs get the same transforms, and noise of their own.
    for paired, options in [
        (True, {"augment_probability": 0.7}),
        (False, {"augment_probability": 0.7, "paired": False}),
        (False, {"noise_std": 0.1}),
    ]:
        change = InputChange(**options)
        assert torch.equal(change.real(batch), change.fake(batch)) == paired
        assert not torch.equal(change.fake(batch), batch)


class OnlyChosen:
    """Augmentation with single transforms on, by the draws that decide."""

    names = ("mirror", "turn", "shift", "brightness", "saturation", "contrast", "cutout")

    def __init__(self, monkeypatch, *names, how=0.3):
        draws = torch.full((16, 4), how)
        draws[:7] = 1.0
        for name in names:
            draws[self.names.index(name)] = 0.0
        monkeypatch.setattr(torch, "rand", lambda *shape, **options: draws)

    def __call__(self, batch):
        return augment(batch, 0.5, generator())


def shifted(batch, pixels):
    padded = np.pad(batch.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    return torch.from_numpy(padded[:, :, 2 + pixels : 18 + pixels, 2 + pixels : 18 + pixels])


def mean(batch):
    return batch.mean((1, 2, 3), keepdim=True)


def cut_out(batch, start, stop):
    expected = batch.clone()
    expected[:, :, start:stop, start:stop] = mean(batch)
    return expected


@pytest.mark.parametrize(
    ("name", "how", "expected"),
    [
        (None, 0.3, lambda x: x),
        ("mirror", 0.3, lambda x: x.flip(3)),
        ("mirror", 0.7, lambda x: x),
        *[
            ("turn", how, lambda x, turns=turns: torch.rot90(x, turns, (2, 3)))
            for turns, how in enumerate((0.1, 0.3, 0.6, 0.9))
        ],
        # With reflection, by up to an eighth of the side.
        *[
            ("shift", how, lambda x, pixels=pixels: shifted(x, pixels))
            for how, pixels in ((0.0, -2), (0.25, -1), (0.5, 0), (1.0, 2))
        ],
        ("brightness", 1.0, lambda x: x + BRIGHTNESS),
        ("saturation", 0.0, lambda x: x.mean(1, keepdim=True).expand_as(x)),
        ("contrast", 0.0, lambda x: mean(x) + (x - mean(x)) / 2),
        ("cutout", 0.5, lambda x: cut_out(x, 4, 12)),
        ("cutout", 0.0, lambda x: cut_out(x, 0, 4)),
    ],
)
def test_each_transform_alone(monkeypatch, name, how, expected):
    batch = images()
    chosen = () if name is None else (name,)
    changed = OnlyChosen(monkeypatch, *chosen, how=how)(batch)
    torch.testing.assert_close(changed, expected(batch), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("how", "turns"), [(0.3, 2), (0.6, 0), (0.9, 2)])
def test_an_oblong_image_is_turned_by_half_turns(monkeypatch, how, turns):
    batch = images()[..., :10]
    turned = OnlyChosen(monkeypatch, "turn", how=how)(batch)
    torch.testing.assert_close(turned, torch.rot90(batch, turns, (2, 3)))


def test_each_transform_comes_with_its_probability():
    batch = images(count=2000, size=4)
    changed = (augment(batch, 0.2, generator()) - batch).abs().amax((1, 2, 3)) > 1e-5
    # All but the mirror (half) and the turn (three quarters) change an image whenever they come;
    # of so small an image, a shift is by less than half a pixel.
    untouched = (1 - 0.1) * (1 - 0.15) * 0.8**4
    assert 1 - changed.float().mean().item() == pytest.approx(untouched, abs=0.03)


def test_augmentation_is_differentiable():
    batch = images(count=2, size=6).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augment(x, 0.9, generator(4)), batch)


def test_what_is_no_image_cannot_be_augmented():
    with pytest.raises(UserError, match=r"needs images.*\(4, 10\)"):
        augment(torch.rand(4, 10), 0.5, generator())


def test_lecam_against_numpy():
    real, fake = torch.randn(8, 1, generator=generator()), torch.randn(8, 1, generator=generator(1))
    over = np.maximum(real.numpy() - (-0.3), 0) ** 2
    under = np.maximum(0.4 - fake.numpy(), 0) ** 2
    penalty = lecam_penalty(real, fake, real_anchor=0.4, fake_anchor=-0.3)
    assert penalty.item() == pytest.approx(over.mean() + under.mean(), rel=1e-6)


def train(net, optimizer, seeds):
    losses = []
    for seed in seeds:
        optimizer.zero_grad()
        loss = net(images(seed=seed)).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.SGD, torch.optim.AdamW])
def test_from_a_snapshot_training_repeats_itself_to_the_bit(kind):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 3))
    optimizer = kind(net.parameters(), lr=0.1)
    snapshot = Snapshot({"net": net}, {"optimizer": optimizer})
    train(net, optimizer, range(3))
    snapshot.take(4)
    assert snapshot.taken_step == 4
    state = copy.deepcopy((net.state_dict(), optimizer.state_dict()["state"]))
    first = train(net, optimizer, range(3, 6))
    for _ in range(2):  # what was kept is still there after a return, untouched by training on
        snapshot.restore()
        for name, tensor in net.state_dict().items():
            assert torch.equal(tensor, state[0][name])
        for index, entries in optimizer.state_dict()["state"].items():
            for name, tensor in entries.items():
                assert tensor is None or torch.equal(tensor, state[1][index][name])
        assert train(net, optimizer, range(3, 6)) == first
