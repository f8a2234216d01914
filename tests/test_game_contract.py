"""One script through the trainer, through `Balance` around a hand-written loop, and through a loop
that says itself what it does: the rows are the same, and so are the weights in the end."""

import copy

import pytest
import torch
import torch.nn.functional as F

from counterpoise.anyloop import handle
from counterpoise.losses.adversarial import ADVERSARIAL_FORMS
from counterpoise.records import NO_ACTION, Action
from counterpoise.training import setup
from counterpoise.training.setup import Batches, adam, build_parts
from counterpoise.training.state import TrainingState
from loop_helpers import Scripted
from training_helpers import make_fabric, tiny

TURNS = 5
SENSORS = "sensors={every: 1, probes_every: 10, held_out_crops: 3}"
PATCHES = "discriminator={name: patchgan, width: 2, norm: instance}"
# What only the trainer knows: the names of its loss terms, and the range of its images.
OURS_ALONE = {"g_terms", "fake_out_of_range", "seconds"}

SCRIPTS = {
    "nothing": {},
    "noise and further steps of D": {
        1: Action(noise_std=0.5),
        2: Action(noise_std=1.5, d_steps=3, augment_probability=0.5),
        3: Action(d_steps=2),
    },
    "rates and weights": {
        2: Action(d_learning_rate_scale=0.25, g_learning_rate_scale=0.5),
        3: Action(adversarial_weight_scale=3.0),
        4: Action(g_steps=0, d_steps=0),
    },
    "R1, LeCam, one half": {
        1: Action(r1_weight=0.5),
        2: Action(lecam_weight=0.5, lecam_real_anchor=1.0, lecam_fake_anchor=-1.0),
        3: Action(d_trains_on_real=False),
    },
    "back to a kept state": {
        1: Action(roll_back=True, reason="nothing is kept yet"),
        2: Action(keep_snapshot=True),
        4: Action(roll_back=True, reason="the script says so"),
    },
}  # fmt: skip


class ByTurn(Scripted):
    """Answers with the script's action for a turn."""

    def __init__(self, script):
        super().__init__(*(script.get(turn, NO_ACTION) for turn in range(1, TURNS + 1)))


class HandWritten:
    """The trainer's loop as somebody would write it, with `Balance` around it."""

    def __init__(self, parts, form, **options):
        networks, config = parts.networks, parts.config
        self.batches, self.form = Batches(parts), ADVERSARIAL_FORMS[form]
        self.g, self.d = copy.deepcopy(networks.g), copy.deepcopy(networks.d)
        self.g_optimizer = adam(self.g.parameters(), config.optimizer.g)
        self.d_optimizer = adam(self.d.parameters(), config.optimizer.d)
        self.weight = config.loss.adversarial.weight
        self.balance = handle.Balance(
            self.g,
            self.d,
            self.g_optimizer,
            self.d_optimizer,
            policy="none",
            sensors_every=1,
            held_out=parts.held_out_crops,
            paired=True,
            seed=config.train.seed,
            **options,
        )
        self.rows = []
        self.balance._journal.step = lambda record: self.rows.append(record.to_json())

    def g_term(self, hr, seen):
        on_real = self.d(hr) if self.form.g_needs_real else None
        return self.weight * self.form.g_loss(on_real, self.d(seen))


class Listened(HandWritten):
    """Its calls are found by hooks."""

    def turn(self):
        lr, hr = self.batches.next()
        fake = self.g(lr)
        self.d_part(hr, fake.detach())
        for _ in range(self.balance.action.d_steps - 1):
            more_lr, more_hr = self.batches.next()
            with torch.no_grad():
                more = self.g(more_lr)
            self.d_part(more_hr, more)
        with self.balance.g_step() as step:
            self.g_optimizer.zero_grad()
            loss = F.mse_loss(fake, hr) + step.adversarial(self.g_term(hr, fake))
            loss.backward()
            self.g_optimizer.step()

    def d_part(self, real, fake):
        with self.balance.d_step() as step:
            self.d_optimizer.zero_grad()
            on_real, on_fake = self.form.d_loss(self.d(real), self.d(fake))
            step.loss(real=on_real, fake=on_fake).backward()
            self.d_optimizer.step()


class Told(HandWritten):
    """It says what it does, and no hook hears anything of it."""

    def turn(self):
        lr, hr = self.batches.next()
        fake = self.g(lr)
        turn = self.balance.turn()
        change = turn.d_begin().change_now
        action = self.d_part(turn, hr, fake.detach())
        for _ in range(action.d_steps - 1):
            more_lr, more_hr = self.batches.next()
            with torch.no_grad():
                more = self.g(more_lr)
            turn.d_begin()
            self.d_part(turn, more_hr, more)
        self.g_optimizer.zero_grad()
        logits = self.d(change.fake(fake))
        on_real = self.d(change.real(hr)) if self.form.g_needs_real else None
        adversarial = turn.weigh(self.weight * self.form.g_loss(on_real, logits))
        content = F.mse_loss(fake, hr)
        loss = content + adversarial
        terms = (adversarial, content)
        turn.g_gradients(*(torch.autograd.grad(t, fake, retain_graph=True)[0] for t in terms))
        loss.backward()
        turn.g_step(self.g_optimizer.step)
        turn.d_again(logits)
        turn.end(loss)

    def d_part(self, turn, real, fake):
        on_real, on_fake = self.d(turn.change.real(real)), self.d(turn.change.fake(fake))
        action = turn.judge(on_real, on_fake, real=real, fake=fake)
        self.d_optimizer.zero_grad()
        turn.d_loss(*self.form.d_loss(on_real, on_fake)).backward()
        turn.d_step(self.d_optimizer.step)
        return action


@pytest.fixture
def script(request, monkeypatch):
    for module in (handle, setup):
        monkeypatch.setattr(module, "build_policy", lambda *_: ByTurn(SCRIPTS[request.param]))


def weights(g, d):
    return torch.cat([p.detach().flatten() for network in (g, d) for p in network.parameters()])


CASES = [
    *((script, "non-saturating", [PATCHES]) for script in SCRIPTS),
    ("noise and further steps of D", "relativistic-average", []),
    ("R1, LeCam, one half", "relativistic-average", []),
    ("nothing", "lsgan", []),
]


@pytest.mark.parametrize(("script", "form", "options"), CASES, indirect=["script"])
@pytest.mark.usefixtures("script")
def test_rows_and_weights_are_the_same(form, options):
    short = ("train.pretrain_steps=0", "train.batch_size=2", "data.held_out_images=3")
    config = tiny(SENSORS, *short, f"loss.adversarial.form={form}", *options)
    parts = build_parts(config, make_fabric(config))
    others = [kind(parts, form, objective=form) for kind in (Listened, Told)]
    state = TrainingState(parts, lambda step, kind, message, level: None)
    for _ in range(TURNS):
        state.playing.play()
    rows = [record.to_json() for record in state.playing.game.records()]
    for other in others:
        for _ in range(TURNS):
            other.turn()
        other.balance.close()
        assert_same(rows, other.rows)
        ours, theirs = weights(parts.networks.g, parts.networks.d), weights(other.g, other.d)
        # Adam makes much of the rounding of a gradient of nearly nothing.
        assert (ours - theirs).norm() < 1e-3 * ours.norm()


def assert_same(ours, theirs):
    assert len(ours) == len(theirs) == TURNS
    for own, other in zip(ours, theirs, strict=True):
        assert own.keys() - OURS_ALONE == other.keys() - OURS_ALONE, own["step"]
        for name in own.keys() - OURS_ALONE:
            # The same sums in another order: gradients of several terms meet at G's output.
            expected = own[name]
            if isinstance(expected, float):
                expected = pytest.approx(expected, rel=1e-3, abs=1e-5)
            assert other[name] == expected, (own["step"], name)
