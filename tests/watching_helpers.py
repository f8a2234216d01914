"""A run's files and a log, written a bit at a time as a training does."""

import json
from pathlib import Path

from counterpoise.run_folder import RunFolder

SEED = Path(__file__).parent / "data" / "seed"
START = 1_800_000_000.0


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self, now=START):
        self.now = now

    def __call__(self):
        return self.now


def row(step, **values):
    """A row of `signals.jsonl` of a healthy game."""
    wave = 0.05 * (step % 5)
    return {
        "step": step,
        "stage": "train",
        "g_loss": 0.9 + wave,
        "g_terms": {"adversarial": 0.7 + wave, "pixel": 0.2},
        "g_updated": True,
        "g_learning_rate": 1e-4,
        "d_loss": 1.3 - wave,
        "d_real": 0.5 + wave,
        "d_fake_before": 0.5 - wave,
        "d_updated": True,
        "d_learning_rate": 2e-4,
        "action": {},
        "seconds": 0.5,
    } | values


def append(path, *rows):
    """Rows of a JSONL file, or a text as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", newline="") as file:
        for item in rows:
            file.write(item if isinstance(item, str) else json.dumps(item) + "\n")


def event(step, kind, message="", time="2027-01-15T08:00:00+00:00"):
    return {"time": time, "step": step, "kind": kind, "message": message or f"{kind} at {step}"}


def begin_run(path, steps=0, config="balance: {policy: threshold}\ntrain: {steps: 100}\n"):
    """A run folder as a training leaves it after so many steps."""
    path.mkdir(parents=True, exist_ok=True)
    run = RunFolder(path)
    run.config.write_text(config, encoding="utf-8")
    append(run.events, event(0, "began", "the training begins"))
    append(run.signals, *(row(step) for step in range(1, steps + 1)))
    return run


def seed_lines(name="bce_epoch3"):
    return (SEED / f"{name}.log").read_text(encoding="utf-8").splitlines(keepends=True)
