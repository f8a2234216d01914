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
from fault_helpers import differing, results
from training_helpers import before_step, signals, tiny

# A loop that ends its own process's steps is deterministic: no clock decides where a signal comes.
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
score = held_out.score_generator
def signalled(generator, pairs, scale, device, method):
    scores = score(generator, pairs, scale, device, method)
    if method == {stage!r}:
        os.kill(os.getpid(), {number})
    return scores
held_out.score_generator = signalled
"""
SIGNAL_IN_BASELINE = """
import os
from counterpoise.training import held_out
def signalled(self, writer):
    os.kill(os.getpid(), {number})
held_out.HeldOut.score_baseline = signalled
"""


@pytest.fixture(scope="module")
def expected(fault_server, signal_config, tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed") / "run"
    assert fault_server.run("train", "--config", signal_config, "--run-dir", path).code == 0
    return results(path)


@pytest.fixture(scope="module")
def signal_config(tmp_path_factory):
    """Two held-out images, so that scoring can be stopped between them."""
    from fault_helpers import short_config

    return short_config(tmp_path_factory.mktemp("signal"), "data.held_out_images=2")


@pytest.mark.parametrize(
    ("before", "code", "saved_step"),
    [
        (SIGNAL_IN_STEP.format(step=2, numbers=[15]), 143, 2),  # pretraining
        (SIGNAL_IN_STEP.format(step=5, numbers=[15, 15, 15]), 143, 5),
        (SIGNAL_IN_STEP.format(step=5, numbers=[1]), 129, 5),
        (SIGNAL_IN_STEP.format(step=4, numbers=[2]), 130, 4),  # samples are due
        (SIGNAL_IN_STEP.format(step=8, numbers=[15]), 143, 8),  # the last step
        (SIGNAL_IN_SCORING.format(stage="pretrain", number=15), 143, 3),
        (SIGNAL_IN_SCORING.format(stage="train", number=15), 143, 4),
    ],
)
def test_a_signal_saves_and_the_resumption_is_bitwise(
    fault_server, signal_config, tmp_path, expected, before, code, saved_step
):
    path = tmp_path / "run"
    ended = fault_server.run(
        "train", "--config", signal_config, "--run-dir", path, before=(before,)
    )
    assert ended.code == code, ended.err
    assert f"Stopped after step {saved_step}, and saved." in ended.out
    assert f"counterpoise resume {path}" in ended.out
    assert ended.err == ""
    last = read_json_lines(RunFolder(path).events)[0][-1]
    assert (last["kind"], last["message"]) == (
        "interrupted",
        f"interrupted after step {saved_step}",
    )
    assert RunFolder(path).checkpoint_files()[-1] == RunFolder(path).checkpoint(saved_step)
    again = fault_server.run("resume", path)
    assert again.code == 0, again.err
    found = results(path)
    assert differing(found, expected) == []


def test_a_signal_before_the_first_step_ends_at_once(
    fault_server, signal_config, tmp_path, expected
):
    path = tmp_path / "run"
    before = (SIGNAL_IN_BASELINE.format(number=15),)
    ended = fault_server.run("train", "--config", signal_config, "--run-dir", path, before=before)
    assert (ended.code, ended.err) == (143, "")
    assert f"Stopped at once, without saving.\nGo on with: counterpoise resume {path}" in ended.out
    last = read_json_lines(RunFolder(path).events)[0][-1]
    assert last["kind"] == "interrupted"
    assert last["message"] == "stopped at once after step 0, without saving"
    assert fault_server.run("resume", path).code == 0
    assert differing(results(path), expected) == []


def test_a_second_ctrl_c_is_recorded_as_what_it_is(fault_server, signal_config, tmp_path):
    path = tmp_path / "run"
    before = (SIGNAL_IN_STEP.format(step=5, numbers=[2, 2]),)
    ended = fault_server.run("train", "--config", signal_config, "--run-dir", path, before=before)
    assert (ended.code, ended.err) == (130, "")
    assert "Stopped at once, without saving." in ended.out
    last = read_json_lines(RunFolder(path).events)[0][-1]
    assert last["kind"] == "interrupted"
    assert last["message"] == "stopped at once after step 4, without saving"


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


def wait_for_steps(path, count, process):
    deadline = time.monotonic() + 120
    while len(signals(path)) < count:
        assert time.monotonic() < deadline, "waited in vain"
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def start(config, path, *arguments, launcher=()):
    return subprocess.Popen(
        [
            *(sys.executable, "-m", *launcher, "counterpoise", "train"),
            *("--config", str(config), "--run-dir", str(path), *arguments),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


LONG = ("--set", "train.steps=1000000", "--set", "train.sample_every=1000000")


@pytest.mark.slow
def test_a_signal_to_every_process_of_a_job_saves(signal_config, tmp_path):
    """As a scheduler sends it: to the workers that cut crops too."""
    path = tmp_path / "run"
    process = start(signal_config, path, *LONG, "--set", "data.worker_processes=2")
    wait_for_steps(path, 5, process)
    os.killpg(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (143, "")
    assert "and saved." in out
    assert RunFolder(path).checkpoint(signals(path)[-1]["step"]).exists()


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "devices"])
def test_a_signal_to_a_training_of_two_processes_saves(signal_config, tmp_path, launcher):
    path = tmp_path / "run"
    if launcher == "torchrun":
        torchrun = ("torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m")
        process = start(signal_config, path, *LONG, launcher=torchrun)
    else:
        process = start(signal_config, path, *LONG, "--devices", "2")
    wait_for_steps(path, 5, process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "and saved." in out, err
    assert RunFolder(path).checkpoint(signals(path)[-1]["step"]).exists()


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["demo"])
def test_a_signal_is_obeyed_within_10_seconds(fault_server, tmp_path, preset, capsys):
    """A preset as it is shipped, told to end at several moments of its first minute."""
    worst = 0.0
    for number, after_s in enumerate((5, 20, 45)):
        path = tmp_path / str(number)
        ended = fault_server.run(
            *("train", "--preset", preset, "--run-dir", path), after_s=after_s, number=15
        )
        assert ended.code == 143, ended.err
        worst = max(worst, ended.seconds - after_s)
    with capsys.disabled():
        print(f"\n{preset}: ended at most {worst:.1f} s after SIGTERM")  # noqa: T201
