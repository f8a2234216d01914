"""A turn of a game, told what happens: gradients, steps, several discriminators, late numbers."""

import itertools

import pytest
import torch
from torch import nn

from counterpoise.actuators.d_terms import lecam_penalty
from counterpoise.actuators.snapshot import Snapshot
from counterpoise.errors import UserError
from counterpoise.game.game import Game
from counterpoise.game.players import Player
from counterpoise.game.sensing import Sensors
from counterpoise.losses.adversarial import ADVERSARIAL_FORMS
from counterpoise.records import Action
from counterpoise.trace import rows_by_discriminator
from counterpoise.training.stage import update_average
from loop_helpers import Scripted

FORM = ADVERSARIAL_FORMS["non-saturating"]


def network(*sizes):
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    return nn.Sequential(*(part for layer in layers for part in (layer, nn.Tanh())))[:-1]


class Play:
    """A game of small networks with plain gradient descent, so that a step is its gradient."""

    def __init__(self, *actions, names=("",), shared=False, deferred=False, needs="this turn"):
        torch.manual_seed(0)
        self.g, self.ds = network(3, 4), {name: network(4, 3, 1) for name in names}
        self.g_optimizer = torch.optim.SGD(self.g.parameters(), lr=1.0)
        weights = [weight for d in self.ds.values() for weight in d.parameters()]
        one = torch.optim.SGD(weights, lr=1.0)
        self.optimizers = {
            name: one if shared else torch.optim.SGD(d.parameters(), lr=1.0)
            for name, d in self.ds.items()
        }
        scripts = actions if len(names) > 1 else (actions,)
        self.policies = {n: Scripted(*own) for n, own in zip(names, scripts, strict=True)}
        for policy in self.policies.values():
            policy.needs = needs
        self.said = []
        self.game = Game(
            self.g,
            self.g_optimizer,
            [
                Player(n, d, self.optimizers[n], self.policies[n], "non-saturating")
                for n, d in self.ds.items()
            ],
            Sensors(self.g, self.ds, every=1, probes_every=0),
            Snapshot({"g": self.g, **self.ds}, {"g_optimizer": self.g_optimizer}),
            lambda step, kind, message, level: self.said.append((step, kind, message)),
        )
        self.game.deferred = deferred
        self.real, self.fake = torch.randn(8, 4), self.g(torch.randn(8, 3))

    def d_gradients(self, name, turn):
        """What D's loss comes to in D's weights, as the action wants it."""
        d, change = self.ds[name], turn.of(name).change
        logits = d(change.real(self.real)), d(change.fake(self.fake.detach()))
        turn.judge(*logits, real=self.real, fake=self.fake, d=name)
        for weight in d.parameters():
            weight.grad = None
        turn.d_loss(*FORM.d_loss(*logits), d=name).backward()
        return [weight.grad.clone() for weight in d.parameters()]

    def turn(self):
        turn = self.game.begin()
        for name in self.ds:
            self.d_gradients(name, turn)
        for name in {id(o): n for n, o in self.optimizers.items()}.values():
            turn.d_step(self.optimizers[name].step, d=name)
        losses = [
            turn.weigh(FORM.g_loss(None, d(self.fake)), d=name) for name, d in self.ds.items()
        ]
        self.g_optimizer.zero_grad()
        torch.stack(losses).sum().backward(retain_graph=True)
        turn.g_step(self.g_optimizer.step)
        for name, d in self.ds.items():
            turn.d_again(d(turn.of(name).change.fake(self.fake)), d=name)
        turn.end(torch.stack(losses).sum())
        return turn

    def weights(self, name):
        return [weight.detach().clone() for weight in self.ds[name].parameters()]


def moved(before, after):
    return [old - new for old, new in zip(before, after, strict=True)]


HALVES = {
    "both": (Action(), lambda r, f: sum(FORM.d_loss(r, f))),
    "real": (Action(d_trains_on_fake=False), lambda r, f: FORM.d_loss(r, f)[0]),
    "fake": (Action(d_trains_on_real=False), lambda r, f: FORM.d_loss(r, f)[1]),
    "LeCam": (
        Action(lecam_weight=3.0, lecam_real_anchor=0.7, lecam_fake_anchor=-0.7),
        lambda r, f: sum(FORM.d_loss(r, f)) + 3 * lecam_penalty(r, f, 0.7, -0.7),
    ),
}


@pytest.mark.parametrize("case", HALVES)
def test_d_is_trained_on_what_the_action_asks_for(case):
    action, expected_loss = HALVES[case]
    play = Play(action)
    d, before = play.ds[""], play.weights("")
    expected = torch.autograd.grad(
        expected_loss(d(play.real), d(play.fake.detach())), list(d.parameters())
    )
    turn = play.game.begin()
    play.d_gradients("", turn)
    turn.d_step(play.optimizers[""].step)
    torch.testing.assert_close(moved(before, play.weights("")), list(expected))
    if case == "LeCam":  # it is recorded
        penalty = 3 * lecam_penalty(*turn.of("").judged, 0.7, -0.7)
        torch.testing.assert_close(turn.numbers["penalty", ""], penalty)


def test_what_rests_stays_and_rates_come_back():
    play = Play(Action(d_steps=0, g_learning_rate_scale=0.5), Action(g_steps=0))
    d, g = play.weights(""), [w.detach().clone() for w in play.g.parameters()]
    play.turn()
    assert all(map(torch.equal, d, play.weights("")))
    assert not all(map(torch.equal, g, play.g.parameters()))
    assert play.g_optimizer.param_groups[0]["lr"] == 1.0
    play.turn()
    first, second = play.game.records()
    assert (first.g_learning_rate, first.g_updated, second.g_updated) == (0.5, True, False)
    assert [r.discriminators[""].updated for r in (first, second)] == [False, True]


def test_noise_begins_in_the_next_turn_and_is_alike_in_both_parts():
    rests = {"d_steps": 0, "g_steps": 0}
    play = Play(Action(noise_std=5.0, **rests), Action(noise_std=5.0, **rests), Action(**rests))
    for _ in range(3):
        play.turn()
    rows = [record.to_json() for record in play.game.records()]
    # Both rest, so the same images get the same answer.
    assert all(row["d_fake_after"] == pytest.approx(row["d_fake_before"]) for row in rows)
    clean, *noisy = (row["d_fake_before"] for row in rows)
    assert len({clean, *noisy}) == 3


def test_several_discriminators_have_actions_of_their_own():
    play = Play([Action(d_steps=0)], [Action(d_learning_rate_scale=0.5)], names=("mpd", "msd"))
    before = {name: play.weights(name) for name in play.ds}
    play.turn()
    assert all(map(torch.equal, before["mpd"], play.weights("mpd")))
    assert not all(map(torch.equal, before["msd"], play.weights("msd")))
    (record,) = play.game.records()
    assert list(record.discriminators) == ["mpd", "msd"]
    flat = rows_by_discriminator(record.to_json())
    assert flat["mpd"]["action"] == {"d_steps": 0}
    assert flat["msd"]["d_learning_rate"] == 0.5
    assert flat["msd"]["g_loss"] == flat["mpd"]["g_loss"]
    with pytest.raises(UserError, match=r"mpd.*msd"):
        play.game.begin().of(None)


def test_an_optimizer_is_shared_by_discriminators_with_different_actions():
    actions = [Action(d_steps=0)], [Action(d_learning_rate_scale=0.5)], [Action()]
    names = ("rests", "slow", "plain")
    shared, apart = (Play(*actions, names=names, shared=s) for s in (True, False))
    for play in (shared, apart):
        play.turn()
    for name in names:
        torch.testing.assert_close(shared.weights(name), apart.weights(name))
    assert [len(g["params"]) for g in shared.optimizers["plain"].param_groups] == [12]
    assert shared.optimizers["plain"].param_groups[0]["lr"] == 1.0


@pytest.mark.parametrize("needs", ["nothing", "last turn", "this turn"])
def test_late_numbers_are_the_same_rows(needs):
    """As on a GPU: nothing waits for numbers that the policy does not need in the turn."""
    actions = [Action(), Action(lecam_weight=0.2), Action(d_steps=0)]
    at_once, late = Play(*actions), Play(*actions, deferred=True, needs=needs)
    for play in (at_once, late):
        for _ in actions:
            play.turn()
    rows = [
        [record.to_json() | {"seconds": 0} for record in p.game.records()] for p in (at_once, late)
    ]
    assert rows[0] == rows[1]
    seen = {name: p.policies[""].seen for name, p in (("at once", at_once), ("late", late))}
    losses = {name: [signals.d_loss_real for signals in own] for name, own in seen.items()}
    if needs == "this turn":
        assert losses["late"] == losses["at once"]
    elif needs == "last turn":
        assert losses["late"][1:] == losses["at once"][:-1]
        assert [signals.step for signals in seen["late"]] == [1, 2, 3]
    else:
        assert all(loss != loss for loss in losses["late"])


def test_there_is_nothing_to_go_back_to():
    play = Play(Action(roll_back=True, reason="try again"))
    before = play.weights("")
    play.turn()
    assert not all(map(torch.equal, before, play.weights("")))
    (record,) = play.game.records()
    assert not record.rolled_back
    assert any("no state was kept (try again)" in message for _, _, message in play.said)


def test_going_back_leaves_every_learning_rate_to_the_loop():
    play = Play(Action(keep_snapshot=True), Action(roll_back=True))
    play.game.snapshot = Snapshot(
        {"g": play.g, "d": play.ds[""]}, {"g": play.g_optimizer, "d": play.optimizers[""]}
    )
    before = play.weights("")
    play.turn()
    for optimizer, rate in ((play.g_optimizer, 0.1), (play.optimizers[""], 0.2)):
        optimizer.param_groups[0]["lr"] = rate  # a schedule of the loop's
    play.turn()
    assert all(map(torch.equal, before, play.weights("")))
    assert play.g_optimizer.param_groups[0]["lr"] == 0.1
    assert play.optimizers[""].param_groups[0]["lr"] == 0.2


def test_average_moves_towards_the_weights_and_starts_short():
    average, module = nn.Linear(2, 2), nn.Linear(2, 2)
    start = [weight.detach().clone() for weight in average.parameters()]
    update_average(average, module, decay=0.999, step=0)
    for old, target, now in zip(start, module.parameters(), average.parameters(), strict=True):
        torch.testing.assert_close(now.detach(), 0.1 * old + 0.9 * target.detach())
