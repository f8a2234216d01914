"""Several discriminators in a loop as people write it, and calls of a turn in a wrong order."""

import pytest
import torch
from torch import nn

import counterpoise as cp
from counterpoise.anyloop import handle
from counterpoise.errors import UserError
from counterpoise.game.players import step_parted
from counterpoise.records import Action
from loop_helpers import Scripted, bce, rows_of

EACH = {"in one part": False, "in parts of their own": True}


class Pair(nn.Module):
    """Judges real and fake samples in one call, as HiFi-GAN's discriminators."""

    def __init__(self):
        super().__init__()
        self.layer, self.seen = nn.Linear(2, 1), ()

    def forward(self, real, fake):
        self.seen = real, fake
        return [self.layer(real)], [self.layer(fake)]


class Loop:
    """Two Ds; with `shared`, one optimizer of plain gradient descent steps for each of them."""

    def __init__(self, *, shared=False, apart=False):
        torch.manual_seed(0)
        self.shared, self.apart = shared, apart
        self.g = nn.Linear(4, 2)
        self.ds = nn.ModuleDict({"a": nn.Linear(2, 1), "b": nn.Linear(2, 1)})
        self.g_optimizer = torch.optim.SGD(self.g.parameters(), 0.1)
        one = torch.optim.SGD(self.ds.parameters(), 0.1)
        own = {name: torch.optim.SGD(d.parameters(), 0.1) for name, d in self.ds.items()}
        self.d_optimizers = one if shared else own
        self.moved_by_other = 0.0

    def balance(self, **options):
        return cp.Balance(self.g, self.ds, self.g_optimizer, self.d_optimizers, **options)

    def turn(self, balance, *, give_loss=False):
        real, fake = torch.randn(8, 2) + 3, self.g(torch.randn(8, 4))
        part = balance.d_step()
        for name, d in self.ds.items():
            if self.apart and name == "b":
                part = balance.d_step()
            optimizer = self.d_optimizers if self.shared else self.d_optimizers[name]
            optimizer.zero_grad()
            halves = bce(d(real), 1), bce(d(fake.detach()), 0)
            loss = part.loss(real=halves[0], fake=halves[1], d=name) if give_loss else sum(halves)
            loss.backward()
            before = self.ds["a"].weight.detach().clone()
            optimizer.step()
            if name == "b":
                self.moved_by_other += float((self.ds["a"].weight.detach() - before).abs().sum())
        balance.g_step()
        self.g_optimizer.zero_grad()
        sum(bce(d(fake), 1) for d in self.ds.values()).backward()
        self.g_optimizer.step()


def test_each_has_rows_actions_and_a_verdict_of_its_own(tmp_path):
    loop = Loop()
    with loop.balance(policy="none", run_dir=tmp_path / "run", sensors_every=2) as balance:
        assert balance.diagnosis("b").rows == 0
        for _ in range(6):
            loop.turn(balance)
        state = balance.state_dict()
        assert set(balance.actions) == {"a", "b"}
        assert balance.diagnosis("a").objective == "non-saturating"
        assert balance.action.d_steps == 1
    rows = [row["discriminators"] for row in rows_of(tmp_path / "run")]
    assert [list(row) for row in rows] == [["a", "b"]] * 6
    assert all(own["d_updated"] for row in rows for own in row.values())
    # What comes back through one D, and all the rest: that through the other.
    through_a = rows[1]["a"]["g_gradient_adversarial"]
    assert rows[1]["b"]["g_gradient_content"] == pytest.approx(through_a, rel=1e-4)
    other = loop.balance(policy="none")
    other.load_state_dict(state)
    assert other.step == 6
    own = {"a": loop.ds["a"]}, loop.g_optimizer, {"a": loop.d_optimizers["a"]}
    one = cp.Balance(loop.g, *own, policy="none")
    with pytest.raises(UserError, match="discriminators"):
        one.load_state_dict(state)


def test_an_only_discriminator_may_have_a_name(tmp_path):
    loop = Loop()
    own = {"a": loop.ds["a"]}, loop.g_optimizer, {"a": loop.d_optimizers["a"]}
    with cp.Balance(loop.g, *own, policy="none", run_dir=tmp_path / "run") as balance:
        for _ in range(3):
            loop.turn(balance)
        balance.end_step()
        assert balance.diagnosis("a").rows == 3
    assert cp.diagnose(tmp_path / "run").rows == 3


def test_what_an_optimizer_counts_in_its_groups_outlives_a_step_in_parts():
    nets = [nn.Linear(2, 1), nn.Linear(2, 1)]
    optimizer = torch.optim.SGD([p for net in nets for p in net.parameters()], 0.1)

    def step():
        for group in optimizer.param_groups:
            group["k"] = group.get("k", 0) + 1

    for _ in range(2):
        step_parted(optimizer, {nets[0]: 1.0, nets[1]: 0.5}, step)
    (group,) = optimizer.param_groups
    assert (group["k"], group["lr"], len(group["params"])) == (2, 0.1, 4)


def test_two_balances_do_not_share_an_optimizer():
    loop = Loop(shared=True)
    a, b = loop.ds.values()
    first = cp.Balance(loop.g, a, loop.g_optimizer, loop.d_optimizers)
    with pytest.raises(UserError, match='"A": d_a'):
        cp.Balance(loop.g, b, loop.g_optimizer, loop.d_optimizers)
    cp.Balance(loop.g, a, loop.g_optimizer, loop.d_optimizers)  # a notebook's cell, run again
    first.close()
    cp.Balance(loop.g, b, loop.g_optimizer, loop.d_optimizers)


def scripted(monkeypatch, action):
    monkeypatch.setattr(handle, "build_policy", lambda name, options: Scripted(action))


@pytest.mark.parametrize("apart", EACH.values(), ids=EACH)
def test_r1_of_one_d_is_not_in_the_step_of_another(monkeypatch, apart):
    scripted(monkeypatch, Action(r1_weight=10.0))
    loop = Loop(shared=True, apart=apart)
    with loop.balance() as balance:
        for _ in range(3):
            loop.turn(balance)
    assert loop.moved_by_other == 0


@pytest.mark.parametrize("apart", EACH.values(), ids=EACH)
def test_gradients_that_are_cleared_just_before_their_backward_pass_are_not_stale(apart):
    loop = Loop(apart=apart)
    with loop.balance(policy="none", check=True) as balance:
        for _ in range(5):
            loop.turn(balance)
    assert balance.loop_findings == []


@pytest.mark.parametrize("apart", EACH.values(), ids=EACH)
def test_halves_that_each_d_is_given_are_used(monkeypatch, caplog, apart):
    scripted(monkeypatch, Action(d_trains_on_real=False))
    loop = Loop(apart=apart)
    with loop.balance() as balance:
        for _ in range(3):
            loop.turn(balance, give_loss=True)
    assert "cannot in this loop" not in caplog.text


def test_of_real_and_fake_in_one_call_both_are_changed(monkeypatch, caplog):
    scripted(monkeypatch, Action(noise_std=0.5))
    torch.manual_seed(0)
    g, d = nn.Linear(4, 2), Pair()
    g_optimizer, d_optimizer = (torch.optim.SGD(each.parameters(), 0.1) for each in (g, d))
    with cp.Balance(g, d, g_optimizer, d_optimizer) as balance:
        for turn in range(3):
            real, fake = torch.randn(8, 2), g(torch.randn(8, 4))
            step = balance.d_step()
            (on_real,), (on_fake,) = d(real, fake.detach())
            step.logits(real=on_real, fake=on_fake)
            changed = [not torch.equal(*pair) for pair in zip(d.seen, (real, fake), strict=True)]
            assert changed == [turn == 1] * 2
            d_optimizer.zero_grad()
            (bce(on_real, 1) + bce(on_fake, 0)).backward()
            d_optimizer.step()
            step = balance.g_step()
            _, (on_fake,) = d(real, fake)
            step.logits(fake=on_fake)
            g_optimizer.zero_grad()
            bce(on_fake, 1).backward()
            g_optimizer.step()
    assert caplog.text == ""


def told(balance):
    """A turn in which D has judged."""
    turn = balance.turn()
    turn.judge(torch.randn(4, 1), torch.randn(4, 1))
    return turn


def end_twice(balance):
    turn = told(balance)
    turn.end(torch.tensor(1.0))
    turn.end(torch.tensor(1.0))


def two_at_once(balance):
    for turn in [told(balance), told(balance)]:
        turn.end(torch.tensor(1.0))


WRONG = {
    "ended twice": end_twice,
    "two at once": two_at_once,
    "D has not judged": lambda balance: balance.turn().end(torch.tensor(1.0)),
    "a loss before": lambda balance: balance.turn().d_loss(torch.ones(()), torch.ones(())),
    "two terms": lambda balance: told(balance).weigh(torch.ones(2)),
    "two penalties": lambda balance: told(balance).d_penalty(torch.ones(2)),
    "two losses of G": lambda balance: told(balance).end(torch.tensor([3.0, 2.0])),
    "a list of outputs": lambda balance: balance.turn().judge([torch.ones(4, 1)], [torch.ones(4)]),
    "a list of losses": lambda balance: told(balance).d_loss([torch.ones(())], torch.ones(())),
    "outputs of a part": lambda balance: balance.d_step().logits(real=[torch.ones(4)], fake=None),
    "after the end": lambda balance: (balance.close(), balance.turn()),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_call_is_refused_and_writes_no_second_row(tmp_path, wrong):
    g, d = nn.Linear(4, 2), nn.Linear(2, 1)
    optimizers = [torch.optim.SGD(each.parameters(), 0.1) for each in (g, d)]
    run_dir = tmp_path / "run"
    balance = cp.Balance(g, d, *optimizers, policy="none", objective="bce", run_dir=run_dir)
    with pytest.raises(UserError):
        WRONG[wrong](balance)
    balance.close()
    rows = run_dir / "signals.jsonl"
    assert not rows.exists() or len(rows.read_text().splitlines()) <= 1


LINEAR = nn.Linear(2, 1)
DESCENT = torch.optim.SGD(LINEAR.parameters(), 0.1)
BAD = {
    "no list of Ds": (["a"], DESCENT),
    "no Ds": ({}, DESCENT),
    "too many optimizers": ({"a": LINEAR}, [DESCENT, DESCENT]),
    "optimizers of others": ({"a": LINEAR}, {"b": DESCENT}),
}


@pytest.mark.parametrize("bad", BAD)
def test_discriminators_are_given_by_name(bad):
    g = nn.Linear(4, 2)
    with pytest.raises(UserError):
        cp.Balance(g, BAD[bad][0], torch.optim.SGD(g.parameters(), 0.1), BAD[bad][1])
