"""Run folders written by hand, with all that a report shows."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from counterpoise.config_file import load_config
from counterpoise.run_folder import RunFolder
from counterpoise.training.held_out import sample_grid
from watching_helpers import append, event

STEPS, PRETRAIN_STEPS, SIDE_PX = 60, 20, 32
# Names, reasons, events and terms of strangers, who would run a script.
CANARY = (
    "</script><script>window.canary=1</script><img src=x onerror='window.canary=2'>\u2028'\"`${1}"
)
RUN = ["train.pretrain_steps=20", "train.steps=40", "balance.policy=auto"]


def rows(count=STEPS, pretrain=PRETRAIN_STEPS, **columns):
    """Rows of `signals.jsonl` of a calm training; columns are numbers or functions of the step."""
    found = []
    for step in range(1, count + 1):
        row = {
            "step": step,
            "stage": "pretrain" if step <= pretrain else "train",
            "g_loss": 1 / step,
            "g_terms": {"pixel": 1 / step},
            "g_updated": True,
            "g_learning_rate": 1e-3,
            "seconds": 0.5,
        }
        if step > pretrain:
            row["g_terms"] = {"perceptual": 0.5, "adversarial": 0.25}
            row |= {
                "d_loss": 1.2,
                "d_loss_real": 0.6,
                "d_loss_fake": 0.6,
                "d_real": 0.6,
                "d_fake_before": 0.4,
                "d_fake_after": 0.39,
                "d_accuracy_real": 0.75,
                "d_accuracy_fake": 0.85,
                "auc": 0.8,
                "d_updated": True,
                "d_learning_rate": 1e-4,
                "g_gradient_adversarial": 1.0,
                "g_gradient_content": 3.0,
                "action": {},
            }
        row |= {k: value(step) if callable(value) else value for k, value in columns.items()}
        found.append(row)
    return found


def metrics(count=STEPS, every=5):
    found = [{"step": 0, "stage": "bicubic", "psnr_y": 26.0, "rmse": 12.0, "lpips": 0.4}]
    for step in range(every, count + 1, every):
        stage = "pretrain" if step <= PRETRAIN_STEPS else "train"
        gain = step / count
        row = {"step": step, "stage": stage, "psnr_y": 26 + gain, "rmse": 12 - gain, "lpips": 0.3}
        found.append(row)
    return found


EVENTS = [event(0, "began", "the training begins, with torch 2"), event(STEPS, "ended")]


def write_lines(path, lines):
    path.unlink(missing_ok=True)
    append(path, "", *lines)


def write_samples(folder: RunFolder, steps, *, crops=2, seed=0):
    hr = torch.from_numpy(np.random.default_rng(seed).random((crops, 3, SIDE_PX, SIDE_PX)))
    hr = hr.float()
    for step in steps:
        # A shade tells one step from another.
        enlarged = hr[:, :, ::4, ::4].repeat_interleave(4, 2).repeat_interleave(4, 3)
        output = 0.5 * enlarged + step / 200
        grid = sample_grid(lambda lr, output=output: output, hr[:, :, ::4, ::4], hr, 4)
        folder.samples.mkdir(exist_ok=True)
        Image.fromarray(grid).save(folder.sample(step))


def write_run(path: Path, signals=None, *, events=EVENTS, samples=(20, 40, 60), overrides=()):
    """A run folder; the parts that are None are not written."""
    path.mkdir(parents=True)
    folder = RunFolder(path)
    folder.save_config(load_config("demo", [*RUN, *overrides]).to_yaml())
    write_lines(folder.signals, rows() if signals is None else signals)
    write_lines(folder.metrics, metrics())
    if events is not None:
        write_lines(folder.events, events)
    write_samples(folder, samples)
    return folder


def write_strange_run(path: Path):
    signals = [
        row | {"g_terms": {CANARY: 1.0}, "action": {"d_steps": 0, "reason": CANARY}}
        for row in rows()
    ]
    folder = write_run(path, signals, events=[event(0, CANARY, CANARY), *EVENTS])
    write_lines(folder.metrics, [{"step": 5, "stage": CANARY, CANARY: 1.0}])
    return folder
