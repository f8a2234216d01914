"""Each bug of a hand-written loop, planted in a copy of the example: found, at the right line."""

import contextlib
import dataclasses
import importlib.util
from pathlib import Path

import pytest
import torch

import counterpoise as cp
from counterpoise.anyloop import handle
from counterpoise.anyloop.loop_check import LoopChecker
from counterpoise.diagnosis.finding import Finding
from counterpoise.diagnosis.loop_bugs import LOOP_BUGS, LoopFinding, with_loop_bugs
from counterpoise.game.live_diagnosis import LiveDiagnosis

NOTHING = LiveDiagnosis("none").diagnosis()
EXAMPLE = Path(__file__).parent.parent / "examples" / "dcgan_digits.py"

# The example's own lines.
LOOP = "for _ in range(steps):"
MADE = "balance = cp.Balance("
D_CALL = "on_real, on_fake = discriminator(real), discriminator(fake.detach())"
D_BACKWARD = "(loss_real + loss_fake).backward()"
D_ZERO = "d_optimizer.zero_grad()"
D_STEP = "d_optimizer.step()"
G_ZERO = "g_optimizer.zero_grad()"
G_JUDGED = "on_fake = discriminator(fake)"
G_BACKWARD = "criterion(on_fake, torch.ones_like(on_fake)).backward()"
G_STEP = "g_optimizer.step()"
# D's optimizer in G's part.
D_STEP_LATE = "d_optimizer.step()  # in G's part"
STEP_BOTH = f"{G_STEP}\n            {D_STEP_LATE}"
D_OPTIMIZER = "d_optimizer = torch.optim.Adam(discriminator.parameters(),"


def planted(tmp_path, *changes):
    """The example as a module, with (old, new) replaced, each of which must be there once."""
    text = EXAMPLE.read_text()
    for line in ("from sklearn.datasets import load_digits\n",
                 "from sklearn.linear_model import LogisticRegression\n"):  # fmt: skip
        text = text.replace(line, "")
    for old, new in (("BATCH_SIZE = 64", "BATCH_SIZE = 8"), *changes):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = tmp_path / "planted.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("planted", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, text.splitlines()


@pytest.fixture
def run(monkeypatch):
    """Runs some steps of a loop, which may fail over its bug; gives what was found."""
    checkers = []

    class Kept(LoopChecker):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            checkers.append(self)

    monkeypatch.setattr(handle, "LoopChecker", Kept)

    def run_steps(module, steps=25):
        torch.manual_seed(0)
        generator, discriminator = module.make_generator(), module.make_discriminator()
        images = torch.rand(64, 1, 8, 8) * 2 - 1
        with contextlib.suppress(RuntimeError, ValueError):
            module.train(images, generator, discriminator, steps, "none", None, True).close()
        return checkers[-1].findings

    return run_steps


# id, the line it must be found at, what is replaced, what comes with it.
CASES = [
    ("fake-not-detached", D_CALL.replace(".detach()", ""),
     [(D_CALL, D_CALL.replace(".detach()", "")),
      (D_BACKWARD, "(loss_real + loss_fake).backward(retain_graph=True)")], set()),
    ("stale-d-gradients", D_BACKWARD, [(D_ZERO, "pass")], set()),
    ("stale-g-gradients", G_BACKWARD, [(G_ZERO, "pass")], set()),
    ("foreign-parameters", MADE,
     [(D_OPTIMIZER, "d_optimizer = torch.optim.Adam([*discriminator.parameters(), "
       "*generator.parameters()],")], set()),
    ("unowned-parameters", MADE,
     [(D_OPTIMIZER, "d_optimizer = torch.optim.Adam(discriminator[0].parameters(),")], set()),
    ("wrong-optimizer", D_STEP_LATE, [(G_STEP, STEP_BOTH)], set()),
    ("wrong-optimizer", D_STEP_LATE, [(D_STEP, "pass"), (G_STEP, STEP_BOTH)], set()),
    ("eval-mode", D_CALL,
     [(LOOP, "discriminator.eval()\n    " + LOOP),
      ("nn.Linear(64 * 2 * 2, 1),", "nn.Dropout(0.1),\n        nn.Linear(64 * 2 * 2, 1),")], set()),
    ("eval-mode", G_BACKWARD, [(LOOP, "generator.eval()\n    " + LOOP)], set()),
    ("sigmoid-before-logits-loss", D_CALL,
     [("nn.Linear(64 * 2 * 2, 1),", "nn.Linear(64 * 2 * 2, 1),\n"
       "        nn.Sigmoid(),")], set()),
    ("half-skipped", D_CALL, [(D_BACKWARD, "loss_real.backward()")], set()),
    ("half-skipped", D_CALL, [(D_BACKWARD, "loss_fake.backward()")], set()),
    ("never-updated", G_BACKWARD, [(G_STEP, "pass")], set()),
    ("never-updated", G_STEP, [(G_BACKWARD, "pass")], set()),
    ("no-gradient-to-generator", G_BACKWARD,
     [(G_JUDGED, "on_fake = discriminator(fake.detach())")], {"never-updated"}),
    ("adversarial-without-gradient", G_JUDGED,
     [(G_BACKWARD, "((fake - real).square().mean() + criterion(on_fake, "
       "torch.ones_like(on_fake)).item()).backward()")], set()),
    ("g-helps-d", G_JUDGED,
     [(G_BACKWARD, "criterion(on_fake, 0 * on_fake.detach()).backward()")], set()),
    ("same-noise", "fake = generator(torch.full((BATCH_SIZE, NOISE_VALUES), 0.1))",
     [("fake = generator(torch.randn(BATCH_SIZE, NOISE_VALUES))",
       "fake = generator(torch.full((BATCH_SIZE, NOISE_VALUES), 0.1))")], set()),
    ("batch-norm-split", D_CALL,
     [("nn.Conv2d(32, 64, 4, stride=2, padding=1),",
       "nn.Conv2d(32, 64, 4, stride=2, padding=1),\n        nn.BatchNorm2d(64),")], set()),
]  # fmt: skip


# Turns that a bug needs to show, where it is more than a few.
TURNS = {
    "never-updated": 8,
    "unowned-parameters": 8,
    "no-gradient-to-generator": 8,
    "g-helps-d": 8,
}


@pytest.mark.parametrize(
    ("name", "line", "changes", "others"), CASES, ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)]
)
def test_planted_bug_is_found_at_its_line(tmp_path, caplog, run, name, line, changes, others):
    module, lines = planted(tmp_path, *changes)
    with caplog.at_level("WARNING", "counterpoise"):
        findings = run(module, steps=TURNS.get(name, 6))
    assert {finding.id for finding in findings} == {name} | others
    (finding,) = [each for each in findings if each.id == name]
    (number,) = [i for i, text in enumerate(lines, 1) if text.strip().startswith(line)]
    assert finding.line == f"{tmp_path / 'planted.py'}:{number}"
    assert finding.meaning in str(finding)
    assert str(finding) in [record.message for record in caplog.records]


D_FROZEN = (G_JUDGED, "discriminator.requires_grad_(False); on_fake = discriminator(fake); "
            "discriminator.requires_grad_(True)")  # fmt: skip
BOTH_STEP_LATE = [D_FROZEN, (D_STEP, "pass"), (G_STEP, STEP_BOTH)]


def test_a_found_bug_is_the_answer_of_the_diagnosis(tmp_path):
    module, _ = planted(tmp_path, (G_ZERO, "pass"))
    nets = module.make_generator(), module.make_discriminator()
    run = tmp_path / "run"
    balance = module.train(torch.rand(64, 1, 8, 8) * 2 - 1, *nets, 12, "none", run, True)
    diagnosis = balance.diagnosis()
    assert "stale-g-gradients" in diagnosis.ids()
    assert not diagnosis.healthy
    assert "planted.py:" in str(diagnosis).split("Objective:")[0].replace("\n", "")
    balance.close()
    # Its folder says the same, to whoever reads it.
    assert cp.diagnose(run).findings[0] == diagnosis.findings[0]


@pytest.mark.parametrize("line", ["", "train.py:3", "/My Drive/train.py:3", r"C:\\a b\\train.py:3"])
@pytest.mark.parametrize("detail", ["", "seen twice"])
def test_what_the_loop_check_found_is_read_from_its_words(line, detail):
    for name, bug in LOOP_BUGS.items():
        found = LoopFinding(name, bug.meaning, bug.change, line, 4, detail)
        assert LoopFinding.of_text(4, str(found)) == found


def test_a_note_of_the_loop_check_leaves_a_training_healthy():
    healthy = Finding("healthy", "healthy", 1, 90, 0.9, "", "", (), ())
    diagnosis = dataclasses.replace(NOTHING, findings=(healthy,), last_step=90)
    note, bug = (
        LoopFinding(name, "", "", "", 1) for name in ("batch-norm-split", "stale-g-gradients")
    )
    assert with_loop_bugs(diagnosis, [note]).healthy
    assert str(with_loop_bugs(diagnosis, [note]))
    assert not with_loop_bugs(diagnosis, [note, bug]).healthy


def test_a_right_loop_has_no_findings_and_is_told_so_where_it_is_short(tmp_path, caplog, run):
    module, _ = planted(tmp_path, *BOTH_STEP_LATE)
    with caplog.at_level("INFO", "counterpoise"):
        assert run(module, steps=16) == []
    assert "turns watched, 0 findings" in caplog.text


def test_the_check_ends_by_itself(tmp_path, run, monkeypatch):
    monkeypatch.setattr("counterpoise.anyloop.loop_check.CHECKED_TURNS", 5)
    module, _ = planted(
        tmp_path, (LOOP, LOOP + "\n        if balance.step == 6:\n            generator.eval()")
    )
    assert run(module, steps=8) == []
