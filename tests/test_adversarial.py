import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from counterpoise.config import AdversarialLossConfig
from counterpoise.errors import UserError
from counterpoise.game.objective import GameObjective
from counterpoise.losses.adversarial import ADVERSARIAL_FORMS
from counterpoise.objectives import OBJECTIVES, objective_name

FORMS = list(ADVERSARIAL_FORMS)
every_form = pytest.mark.parametrize("name", FORMS)


def logits(seed, *shape):
    return 2 * torch.randn(*shape or (5, 1), generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def real():
    return logits(0) + 1


@pytest.fixture
def fake():
    return logits(1) - 1


def bce(logits, target):
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def mse(values, target):
    return F.mse_loss(values, torch.full_like(values, target))


def test_every_objective_has_its_form_and_is_known_to_the_configuration():
    assert list(OBJECTIVES) == FORMS
    for name, objective in OBJECTIVES.items():
        for known_as in (name, *objective.aliases):
            assert AdversarialLossConfig(form=known_as).form == name
    with pytest.raises(UserError, match="unknown objective 'gan-gp'; known: non-saturating"):
        objective_name("gan-gp")
    with pytest.raises(ValidationError, match="known: non-saturating"):
        AdversarialLossConfig(form="gan-gp")
    assert AdversarialLossConfig.model_json_schema()["properties"]["form"]["enum"] == FORMS


# D's halves and G's loss, as the papers write them.
CLOSED = {
    # G fools D: the target is 1, not the negative of D's loss.
    "non-saturating": lambda r, f: (bce(r, 1.0), bce(f, 0.0), bce(f, 1.0)),
    "lsgan": lambda r, f: (mse(r, 1.0), mse(f, 0.0), mse(f, 1.0)),
    "lsgan-on-sigmoid": lambda r, f: (
        mse(r.sigmoid(), 1.0),
        mse(f.sigmoid(), 0.0),
        mse(f.sigmoid(), 1.0),
    ),
    "linear-on-sigmoid": lambda r, f: (
        1 - r.sigmoid().mean(),
        f.sigmoid().mean(),
        1 - f.sigmoid().mean(),
    ),
    "hinge": lambda r, f: ((1 - r).clamp(min=0).mean(), (1 + f).clamp(min=0).mean(), -f.mean()),
    "wgan": lambda r, f: (-r.mean(), f.mean(), -f.mean()),
    # As in ESRGAN's code.
    "relativistic-average": lambda r, f: (
        bce(r - f.mean(), 1.0),
        bce(f - r.mean(), 0.0),
        bce(r - f.mean(), 0.0) + bce(f - r.mean(), 1.0),
    ),
    "relativistic-paired": lambda r, f: (bce(r - f, 1.0) / 2, bce(r - f, 1.0) / 2, bce(f - r, 1.0)),
    "relativistic-hinge": lambda r, f: (
        (1 - r + f.mean()).clamp(min=0).mean(),
        (1 + f - r.mean()).clamp(min=0).mean(),
        (1 + r - f.mean()).clamp(min=0).mean() + (1 - f + r.mean()).clamp(min=0).mean(),
    ),
}


@every_form
def test_losses_are_those_of_the_papers_also_over_maps(name, real, fake):
    form = ADVERSARIAL_FORMS[name]
    for on_real, on_fake in ((real, fake), (logits(2, 2, 1, 3, 4), logits(3, 2, 1, 3, 4))):
        losses = (*form.d_loss(on_real, on_fake), form.g_loss(on_real, on_fake))
        torch.testing.assert_close(losses, CLOSED[name](on_real, on_fake))


@every_form
@pytest.mark.parametrize("size", [1e4, 50.0])
def test_values_and_gradients_are_finite_at_extreme_logits(name, size):
    form = ADVERSARIAL_FORMS[name]
    ends = torch.tensor([-size, size, 0.0, size]).reshape(-1, 1)
    for real, fake in ((ends, ends.flip(0)), (ends[:1], ends[1:2]), (ends[1:2], ends[:1])):
        real, fake = real.clone().requires_grad_(), fake.clone().requires_grad_()
        for loss in (sum(form.d_loss(real, fake)), form.g_loss(real, fake)):
            assert loss.shape == ()
            gradients = torch.autograd.grad(loss, [real, fake], allow_unused=True)
            assert all(x.isfinite().all() for x in (loss, *gradients) if x is not None)


@every_form
def test_g_keeps_its_gradient_where_d_is_sure_unless_the_table_says_that_it_fades(name):
    real = torch.full((4, 1), 50.0)
    fake = torch.full((4, 1), -50.0, requires_grad=True)
    ADVERSARIAL_FORMS[name].g_loss(real, fake).backward()
    assert (abs(fake.grad.sum()) < 1e-6) == OBJECTIVES[name].g_gradient_saturates


@every_form
def test_equilibrium_is_the_least_loss_of_a_d_that_cannot_tell(name):
    form = ADVERSARIAL_FORMS[name]
    candidates = torch.linspace(-3, 3, 601)
    losses = [sum(form.d_loss(c.reshape(1, 1), c.reshape(1, 1))).item() for c in candidates]
    assert min(losses) == pytest.approx(form.objective.equilibrium_d_loss, abs=1e-4)
    if name == "wgan" or OBJECTIVES[name].compares_scores:
        # Only differences count, so every common score is the equilibrium.
        assert max(losses) == pytest.approx(form.objective.equilibrium_d_loss, abs=1e-6)


@every_form
def test_halves_and_g_depend_on_the_logits_that_they_say(name, real, fake):
    form = ADVERSARIAL_FORMS[name]
    real.requires_grad_(True)
    fake.requires_grad_(True)
    loss_real, loss_fake = form.d_loss(real, fake)
    (real_to_fake,) = torch.autograd.grad(loss_real, fake, allow_unused=True, retain_graph=True)
    (fake_to_real,) = torch.autograd.grad(loss_fake, real, allow_unused=True)
    are_independent = not form.objective.compares_scores
    assert (real_to_fake is None) == (fake_to_real is None) == are_independent
    loss = form.g_loss(real if form.g_needs_real else None, fake)
    (gradient,) = torch.autograd.grad(loss, fake, retain_graph=True)
    # G raises fake logits; LSGAN's target is 1, so a fake that scores above it is pulled down.
    assert (gradient[fake < 1] < 0).all()
    if form.g_needs_real:
        assert (torch.autograd.grad(loss, real)[0] > 0).all()


@every_form
def test_the_threshold_lies_between_well_separated_logits(name):
    real = torch.tensor([[2.0], [4.0]], requires_grad=True)
    threshold = GameObjective(name).threshold(real, torch.tensor([[-2.0], [0.0]]))
    moves = name == "wgan" or OBJECTIVES[name].compares_scores
    assert threshold.item() == (1 if moves else 0.5 if name == "lsgan" else 0)
    assert not threshold.requires_grad
    # Scores that have no zero of their own take the threshold with them.
    further = GameObjective(name).threshold(real + 100, torch.tensor([[98.0], [100.0]]))
    assert (further.item() == 101) == moves


@every_form
def test_what_is_printed_and_what_the_sigmoid_sees(name, real, fake):
    form = ADVERSARIAL_FORMS[name]
    seen = form.sigmoid_inputs(real, fake)
    if not OBJECTIVES[name].has_sigmoid:
        assert seen is None
        assert form.probability(real).equal(real)
        return
    assert form.probability(real).equal(real.sigmoid())
    expected = {
        "relativistic-average": (real - fake.mean(), fake - real.mean()),
        "relativistic-paired": (real - fake, real - fake),
    }
    torch.testing.assert_close(seen, expected.get(name, (real, fake)))
