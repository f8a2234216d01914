"""SIGTERM, Ctrl-C and a closed terminal: saved, said, and gone on with bitwise."""

import os
import signal
import subprocess
import sys
import time

import pytest

from counterpoise.json_lines import read_json_lines
from counterpoise.run_folder import RunFolder
from counterpoise.training import loop
from counterpoise.training.interruption import StopRequest
from fault_helpers import Life
from training_helpers import before_step, signals, tiny

# Steps of the process itself send them: no clock decides where a signal comes.
SIGNAL_IN_STEP = """
import os
from counterpoise.training import loop
play = loop.Training.play
def signalled(self, step):
    if step == {step}:
        for number in {numbers}:
            os.kill(os.getpid(), number)
    play(self, step)
loop.Training.play = signalled
"""
SIGNAL_IN_SCORING = """
import os
from counterpoise.training import held_out
score = held_out.score_pairs
def signalled(method, *arguments):
    scores = score(method, *arguments)
    if method == {stage!r}:
        os.kill(os.getpid(), {number})
    return scores
held_out.score_pairs = signalled
"""


@pytest.mark.parametrize(
    ("before", "code", "step", "saves"),
    [
        (SIGNAL_IN_STEP.format(step=2, numbers=[15]), 143, 2, True),  # pretraining
        (SIGNAL_IN_STEP.format(step=5, numbers=[15, 15, 15]), 143, 5, True),
        (SIGNAL_IN_STEP.format(step=4, numbers=[2]), 130, 4, True),  # samples are due
        (SIGNAL_IN_STEP.format(step=8, numbers=[1]), 129, 8, True),  # the last step
        (SIGNAL_IN_SCORING.format(stage="train", number=15), 143, 4, True),
        (SIGNAL_IN_SCORING.format(stage="bicubic", number=15), 143, 0, False),
        (SIGNAL_IN_STEP.format(step=5, numbers=[2, 2]), 130, 4, False),
    ],
)
def test_a_signal_saves_where_there_is_time_and_the_resumption_is_bitwise(
    fault_server, fault_config, undisturbed, tmp_path, before, code, step, saves
):
    life = Life(fault_server, fault_config, tmp_path / "run")
    ended = life.play(before=(before,))
    assert (ended.code, ended.err) == (code, "")
    said = f"Stopped after step {step}, and saved." if saves else "Stopped at once, without saving."
    assert said in ended.out
    assert f"counterpoise resume {life.path}" in ended.out
    run = RunFolder(life.path)
    last = read_json_lines(run.events)[0][-1]
    assert last["kind"] == "interrupted"
    assert f"after step {step}" in last["message"]
    assert ("without saving" in last["message"]) != saves
    assert run.checkpoint(step).exists() or not saves
    life.check(undisturbed[0])


def test_a_hangup_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as by `nohup`
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, before)


def test_broken_numbers_are_not_said_to_be_saved(counterpoise, tmp_path, monkeypatch):
    def signalled(training, step):
        os.kill(os.getpid(), signal.SIGTERM)
        training.broken = True

    before_step(monkeypatch, signalled)
    monkeypatch.setattr(loop.Training, "check_finite", lambda self, record: None)
    (tmp_path / "tiny.yaml").write_text(tiny().to_yaml())
    # What is in brackets is no markup.
    path = tmp_path / "m[b]x"
    code, out, _ = counterpoise("train", "--config", tmp_path / "tiny.yaml", "--run-dir", path)
    assert code == 143
    assert f"Stopped after step 1, without saving.\nGo on with: counterpoise resume {path}" in out
    last = read_json_lines(RunFolder(path).events)[0][-1]
    assert last["message"] == "interrupted after step 1, without saving"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["every process", "torchrun", "devices"])
def test_a_signal_to_a_training_of_several_processes_saves(fault_config, tmp_path, how):
    """As a scheduler sends it."""
    path = tmp_path / "run"
    launcher = ("torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m")
    more = {"every process": ("--set", "data.worker_threads=2"), "devices": ("--devices", "2")}
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", *(launcher if how == "torchrun" else ()), "counterpoise"),
            *("train", "--config", str(fault_config), "--run-dir", str(path)),
            *("--set", "train.steps=1000000", "--set", "train.sample_every=1000000"),
            *more.get(how, ()),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    while len(signals(path)) < 5:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    if how == "every process":
        os.killpg(process.pid, signal.SIGTERM)
    else:
        process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert (process.returncode == 143) if how == "every process" else process.returncode
    assert "and saved." in out, err
    assert RunFolder(path).checkpoint(signals(path)[-1]["step"]).exists()
