"""Small pieces that several test modules share."""

import contextlib
import dataclasses
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from counterpoise.records import DiscriminatorRecord, Signals, StepRecord

SIGNALS = Signals(
    step=1,
    d_loss_real=0.7,
    d_loss_fake=0.7,
    d_real=0.5,
    d_fake=0.5,
    d_accuracy_real=0.5,
    d_accuracy_fake=0.5,
    real_logit_mean=0.0,
    real_logit_std=1.0,
    fake_logit_mean=0.0,
    fake_logit_std=1.0,
)


@contextlib.contextmanager
def scripts_of(folder: Path):
    """The scripts of a folder can be imported, and are forgotten: others have their names."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name, module in [*sys.modules.items()]:
            if folder in Path(getattr(module, "__file__", None) or "").parents:
                del sys.modules[name]


def random_pixels(seed, height, width, channels=3, dtype=np.uint8):
    most = np.iinfo(dtype).max
    shape = (height, width, channels) if channels else (height, width)
    return np.random.default_rng(seed).integers(0, most, shape, dtype=dtype, endpoint=True)


def smooth_pixels(seed, height, width):
    """A photograph-like image: random low frequencies."""
    small = Image.fromarray(random_pixels(seed, height // 8 + 2, width // 8 + 2))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def write_images(folder: Path, count, height=48, width=64, suffix=".png"):
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        path = folder / f"image{number}{suffix}"
        Image.fromarray(smooth_pixels(number, height, width)).save(path)
        paths.append(path)
    return paths


def one_line(result, *expected):
    """A command was refused: exit code 2, and one line that says why."""
    code, _, err = result
    assert (code, err.count("\n")) == (2, 1), err
    for text in expected:
        assert text in err


def step_record(step=1, signals=SIGNALS, d="", **values):
    """A row of a game with one D; `values` are fields of `StepRecord`, or, of D's record, with
    `d_` before them."""
    own = {name.removeprefix("d_"): values.pop(name) for name in list(values) if name[:2] == "d_"}
    own = {"learning_rate": 1e-4, "updated": True, "fake_after": 0.5} | own
    given = {
        "stage": "train",
        "g_loss": 1.0,
        "g_terms": {"adversarial": 0.7, "pixel": 0.3},
        "g_updated": True,
        "g_learning_rate": 1e-4,
        "seconds": 0.1,
    }
    record = DiscriminatorRecord(dataclasses.replace(signals, step=step), **own)
    return StepRecord(step, discriminators={d: record}, **given | values)
