import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.config import AdversarialLossConfig
from counterpoise.errors import UserError
from counterpoise.losses.adversarial import ADVERSARIAL_FORMS

FORMS = list(ADVERSARIAL_FORMS)
RELATIVISTIC = ["relativistic-average", "relativistic-paired"]

values = st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=6)


@pytest.fixture
def real():
    return 2 * torch.randn(5, 1, generator=torch.Generator().manual_seed(0)) + 1


@pytest.fixture
def fake():
    return 2 * torch.randn(5, 1, generator=torch.Generator().manual_seed(1)) - 1


def bce(logits, target):
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def test_every_configurable_form_is_here_and_no_other():
    field = AdversarialLossConfig.model_fields["form"]
    assert set(FORMS) == set(field.annotation.__args__)
    with pytest.raises(UserError, match="unknown adversarial form 'bce'; known: non-saturating"):
        ADVERSARIAL_FORMS["bce"]


def test_non_saturating_is_binary_cross_entropy(real, fake):
    form = ADVERSARIAL_FORMS["non-saturating"]
    loss_real, loss_fake = form.d_loss(real, fake)
    torch.testing.assert_close(loss_real, bce(real, 1.0))
    torch.testing.assert_close(loss_fake, bce(fake, 0.0))
    # G fools D: the target is 1, not the negative of D's loss.
    torch.testing.assert_close(form.g_loss(None, fake), bce(fake, 1.0))


def test_non_saturating_gives_g_a_gradient_where_d_is_sure():
    fake = torch.full((4, 1), -50.0, requires_grad=True)
    ADVERSARIAL_FORMS["non-saturating"].g_loss(None, fake).backward()
    torch.testing.assert_close(fake.grad.sum(), torch.tensor(-1.0))


def test_lsgan_is_on_raw_scores(real, fake):
    form = ADVERSARIAL_FORMS["lsgan"]
    loss_real, loss_fake = form.d_loss(real, fake)
    torch.testing.assert_close(loss_real, F.mse_loss(real, torch.ones_like(real)))
    torch.testing.assert_close(loss_fake, F.mse_loss(fake, torch.zeros_like(fake)))
    torch.testing.assert_close(form.g_loss(None, fake), F.mse_loss(fake, torch.ones_like(fake)))
    # Behind a sigmoid these two could not differ by more than 1.
    assert form.g_loss(None, torch.full((1, 1), -9.0)).item() == 100


def test_hinge_closed_form():
    form = ADVERSARIAL_FORMS["hinge"]
    loss_real, loss_fake = form.d_loss(torch.tensor([[-1.0], [3.0]]), torch.tensor([[0.5], [-4.0]]))
    assert loss_real.item() == 1.0
    assert loss_fake.item() == 0.75
    assert form.g_loss(None, torch.tensor([[0.5], [-4.0]])).item() == 1.75


def test_wgan_closed_form():
    form = ADVERSARIAL_FORMS["wgan"]
    halves = form.d_loss(torch.tensor([[1.0], [3.0]]), torch.tensor([[5.0], [6.0]]))
    assert [half.item() for half in halves] == [-2.0, 5.5]
    assert form.g_loss(None, torch.tensor([[5.0], [6.0]])).item() == -5.5


def test_relativistic_average_as_in_esrgan(real, fake):
    form = ADVERSARIAL_FORMS["relativistic-average"]
    loss_real, loss_fake = form.d_loss(real, fake)
    torch.testing.assert_close(loss_real, bce(real - fake.mean(), 1.0))
    torch.testing.assert_close(loss_fake, bce(fake - real.mean(), 0.0))
    expected = bce(real - fake.mean(), 0.0) + bce(fake - real.mean(), 1.0)
    torch.testing.assert_close(form.g_loss(real, fake), expected)


def test_relativistic_paired_is_a_mean_over_pairs(real, fake):
    form = ADVERSARIAL_FORMS["relativistic-paired"]
    pairs = [(r, f) for [r], [f] in zip(real.tolist(), fake.tolist(), strict=True)]
    d_loss = sum(math.log1p(math.exp(-(r - f))) for r, f in pairs) / len(pairs)
    g_loss = sum(math.log1p(math.exp(-(f - r))) for r, f in pairs) / len(pairs)
    halves = form.d_loss(real, fake)
    assert sum(halves).item() == pytest.approx(d_loss, rel=1e-5)
    assert halves[0].item() == halves[1].item()
    assert form.g_loss(real, fake).item() == pytest.approx(g_loss, rel=1e-5)


@pytest.mark.parametrize("name", FORMS)
@settings(deadline=None, max_examples=40)
@given(st.data())
def test_finite_values_and_gradients_at_extreme_logits(name, data):
    form = ADVERSARIAL_FORMS[name]
    count = data.draw(st.integers(1, 5))
    logits = st.lists(st.floats(-1e4, 1e4, width=32), min_size=count, max_size=count)
    real, fake = (
        torch.tensor(data.draw(logits)).reshape(-1, 1).requires_grad_(True) for _ in range(2)
    )
    for loss in (sum(form.d_loss(real, fake)), form.g_loss(real, fake)):
        assert loss.shape == ()
        assert loss.isfinite()
        gradients = torch.autograd.grad(loss, [real, fake], allow_unused=True)
        assert all(g.isfinite().all() for g in gradients if g is not None)


@pytest.mark.parametrize("name", FORMS)
def test_equilibrium_is_the_least_loss_of_a_d_that_cannot_tell(name):
    form = ADVERSARIAL_FORMS[name]
    candidates = torch.linspace(-3, 3, 601)
    losses = [sum(form.d_loss(c.reshape(1, 1), c.reshape(1, 1))).item() for c in candidates]
    assert min(losses) == pytest.approx(form.equilibrium_d_loss, abs=1e-4)


@pytest.mark.parametrize("name", ["wgan", *RELATIVISTIC])
@settings(deadline=None, max_examples=30)
@given(logit=st.floats(-1e4, 1e4, width=32))
def test_equilibrium_at_any_common_score_where_only_differences_count(name, logit):
    form = ADVERSARIAL_FORMS[name]
    same = torch.full((3, 1), logit)
    assert sum(form.d_loss(same, same)).item() == pytest.approx(form.equilibrium_d_loss, abs=1e-6)


@pytest.mark.parametrize("name", RELATIVISTIC)
@settings(deadline=None, max_examples=30)
@given(shift=st.floats(-100, 100))
def test_relativistic_losses_ignore_a_common_shift(name, shift):
    form = ADVERSARIAL_FORMS[name]
    real, fake = torch.tensor([[1.0], [-2.0]]), torch.tensor([[0.5], [3.0]])
    torch.testing.assert_close(
        form.g_loss(real + shift, fake + shift), form.g_loss(real, fake), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("name", FORMS)
def test_halves_are_independent_where_they_say_so(name, real, fake):
    form = ADVERSARIAL_FORMS[name]
    real.requires_grad_(True)
    fake.requires_grad_(True)
    loss_real, loss_fake = form.d_loss(real, fake)
    (real_to_fake,) = torch.autograd.grad(loss_real, fake, allow_unused=True, retain_graph=True)
    (fake_to_real,) = torch.autograd.grad(loss_fake, real, allow_unused=True)
    assert (real_to_fake is None) == form.halves_are_independent
    assert (fake_to_real is None) == form.halves_are_independent


@pytest.mark.parametrize("name", FORMS)
def test_g_raises_fake_logits_and_needs_real_where_it_says_so(name, real, fake):
    form = ADVERSARIAL_FORMS[name]
    real.requires_grad_(True)
    fake.requires_grad_(True)
    loss = form.g_loss(real if form.g_needs_real else None, fake)
    # LSGAN's target is 1, so a fake that scores above it is pulled down.
    (gradient,) = torch.autograd.grad(loss, fake, retain_graph=True)
    below = fake.detach() < 1
    assert below.any()
    assert (gradient[below] < 0).all()
    if form.g_needs_real:
        (gradient,) = torch.autograd.grad(loss, real)
        assert (gradient > 0).all()


@pytest.mark.parametrize("name", FORMS)
def test_a_better_d_has_a_lower_loss_and_g_a_higher_one(name):
    form = ADVERSARIAL_FORMS[name]
    low, high = torch.zeros(4, 1), torch.ones(4, 1)
    assert sum(form.d_loss(high, low)).item() < sum(form.d_loss(low, high)).item()
    assert form.g_loss(high, low).item() > form.g_loss(low, high).item()


@pytest.mark.parametrize("name", FORMS)
def test_maps_are_means_over_all_positions(name):
    form = ADVERSARIAL_FORMS[name]
    generator = torch.Generator().manual_seed(2)
    real, fake = (torch.randn(2, 1, 3, 4, generator=generator) for _ in range(2))
    flat = [x.reshape(-1, 1) for x in (real, fake)]
    for of_map, of_list in zip(form.d_loss(real, fake), form.d_loss(*flat), strict=True):
        torch.testing.assert_close(of_map, of_list)
    torch.testing.assert_close(form.g_loss(real, fake), form.g_loss(*flat))


@pytest.mark.parametrize("name", FORMS)
def test_threshold_lies_between_well_separated_logits(name):
    form = ADVERSARIAL_FORMS[name]
    real = torch.tensor([[2.0], [3.0]], requires_grad=True)
    threshold = form.decision_threshold(real, torch.tensor([[-2.0], [-1.0]]))
    assert -1 < threshold.item() < 2
    assert not threshold.requires_grad


@pytest.mark.parametrize("name", ["wgan", *RELATIVISTIC])
def test_threshold_moves_with_scores_that_have_no_zero(name):
    form = ADVERSARIAL_FORMS[name]
    real, fake = torch.tensor([[102.0], [104.0]]), torch.tensor([[98.0], [100.0]])
    assert form.decision_threshold(real, fake).item() == 101


def test_fixed_thresholds(real, fake):
    thresholds = {
        name: ADVERSARIAL_FORMS[name].decision_threshold(real, fake).item()
        for name in ("non-saturating", "lsgan", "hinge")
    }
    assert thresholds == {"non-saturating": 0.0, "lsgan": 0.5, "hinge": 0.0}


@given(values)
def test_what_is_printed_as_d_of_x(logits):
    logits = torch.tensor(logits)
    for name in ("non-saturating", *RELATIVISTIC):
        torch.testing.assert_close(
            ADVERSARIAL_FORMS[name].probability(logits), 1 / (1 + (-logits.double()).exp()).float()
        )
    for name in ("lsgan", "hinge", "wgan"):
        assert ADVERSARIAL_FORMS[name].probability(logits).equal(logits)
