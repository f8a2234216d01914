"""Images that vanish or change, numbers that break."""

import itertools
import math
import re

import pytest
import torch
from safetensors.torch import load_file

from counterpoise.errors import TrainingDivergedError, UserError
from counterpoise.run_folder import RunFolder
from counterpoise.training import loop
from counterpoise.training.setup import Batches
from fault_helpers import differing, results
from helpers import write_images
from training_helpers import before_step, events, run, signals, tiny

# Every image is decoded again for each crop, beside the training.
NO_CACHE = ("data.cache_mib=0", "data.worker_threads=1")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of images; who harms them puts them back."""
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, 6)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory, images):
    """A training on them to which nothing happens."""
    path = tmp_path_factory.mktemp("whole") / "run"
    run(tiny(*NO_CACHE, data=images), path)
    return path


def in_step(monkeypatch, number, act):
    """Call `act` with the training at the beginning of a step."""
    before_step(monkeypatch, lambda training, step: step == number and act(training))


def test_an_image_that_vanishes_stops_in_one_line_and_put_back_costs_nothing(
    tmp_path, monkeypatch, images, whole
):
    kept = {path: path.read_bytes() for path in images.iterdir()}
    config = tiny(*NO_CACHE, data=images)
    with monkeypatch.context() as patch:
        in_step(patch, 6, lambda training: [path.unlink() for path in kept])
        with pytest.raises(UserError, match=r"image\d.png: .*put it back") as stopped:
            run(config, tmp_path / "run")
    assert "\n" not in str(stopped.value)
    assert events(tmp_path / "run")[-1] == events(tmp_path / "run", "failed")[-1]
    for path, data in kept.items():
        path.write_bytes(data)
    run(config, tmp_path / "run", resume=True)
    assert differing(results(tmp_path / "run"), results(whole)) == []


def planted(monkeypatch, number, change):
    """Change the HR crops of one batch."""
    next_batch, count = Batches.next, itertools.count(1)

    def changed(self):
        lr, hr = next_batch(self)
        return (lr, change(hr)) if next(count) == number else (lr, hr)

    monkeypatch.setattr(Batches, "next", changed)


def nan_in_one_pixel(hr):
    hr = hr.clone()
    hr[0, 0, 0, 0] = math.nan
    return hr


def test_a_nan_in_a_batch_ends_the_training_and_its_checkpoints_stay_clean(
    tmp_path, monkeypatch, images, whole
):
    config = tiny(*NO_CACHE, data=images)
    with monkeypatch.context() as patch:
        planted(patch, 6, nan_in_one_pixel)
        with pytest.raises(TrainingDivergedError, match="step 6: .* not finite"):
            run(config, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    last = signals(folder.path)[-1]
    assert (last["step"], last["g_loss"], "g_loss" in last["non_finite"]) == (6, None, True)
    assert events(folder.path)[-1] == events(folder.path, "diverged")[-1]
    for file in (*folder.checkpoint_files(), folder.generator):
        assert all(value.isfinite().all() for value in load_file(file).values())
    # It was a passing fault: the resumption is that of the last checkpoint.
    run(config, folder.path, resume=True)
    assert differing(results(folder.path), results(whole)) == []


def test_weights_that_break_before_a_checkpoint_are_an_event(tmp_path, monkeypatch, images):
    """The losses of a step are of before its update, which may be what breaks the weights."""
    save = loop.Training.save

    def broken(self):
        if self.step == 4:
            with torch.no_grad():
                next(self.parts.networks.g.parameters())[0] = math.inf
        save(self)

    monkeypatch.setattr(loop.Training, "save", broken)
    with pytest.raises(TrainingDivergedError, match="not finite"):
        run(tiny(data=images), tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    assert events(folder.path)[-1] == events(folder.path, "diverged")[-1]
    assert [f.stem for f in folder.checkpoint_files()] == ["step-00000003"]


def test_a_loss_spike_is_recorded_and_the_training_goes_on(tmp_path, monkeypatch, images):
    planted(monkeypatch, 6, lambda hr: hr * 1e4)
    run(tiny("train.log_every=1", data=images), tmp_path / "run")
    losses = {row["step"]: row["g_loss"] for row in signals(tmp_path / "run")}
    assert losses[6] > 1e6 * losses[5]
    assert len(losses) == 8
    log = (tmp_path / "run" / "train.log").read_text()
    logged = [float(text) for text in re.findall(r"Loss G: ([\d.]+)", log)]
    assert pytest.approx(losses[6], rel=1e-6) in logged  # signals are of seven digits
