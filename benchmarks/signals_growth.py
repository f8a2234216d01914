"""What a million steps leave in `signals.jsonl`, and how long that takes to read and judge.

    python benchmarks/signals_growth.py [--steps 1000000]

The rows are those of a real turn, with its numbers jittered; the aims are 500 MB and 10 s.
"""

import argparse
import dataclasses
import random
import tempfile
import time
from pathlib import Path

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.json_lines import JsonLines
from counterpoise.logs.read import read_log
from counterpoise.records import (
    Action,
    DiscriminatorRecord,
    Readings,
    Signals,
    StepRecord,
    compact,
    is_written,
)
from counterpoise.run_folder import RunFolder
from measuring import report


def row(step: int, policy: str, draw: random.Random) -> StepRecord:
    """A step of our loop, with the readings that are due."""
    numbers = [draw.gauss(0.7, 0.05) for _ in range(12)]
    readings = Readings(d_saturation_real=0.0, d_saturation_fake=0.0)
    if step % 10 == 0:
        due = {f.name: draw.gauss(1, 0.1) for f in dataclasses.fields(Readings)}
        readings = Readings(**due)
    action = Action()
    if policy == "auto":
        scale = draw.uniform(0.1, 1)
        action = Action(
            d_learning_rate_scale=scale,
            lecam_weight=0.1,
            reason=f"D's smoothed accuracy {draw.random():.2f} for a target of 0.75: its learning "
            f"rate is {scale:.3g} times the configured one",
        )
    return StepRecord(
        step=step,
        stage="train",
        g_loss=numbers[0] + numbers[1],
        g_terms={"pixel": numbers[0], "perceptual/pool2": numbers[1], "adversarial": numbers[2]},
        g_updated=True,
        g_learning_rate=1e-4,
        seconds=0.05 * numbers[3],
        discriminators={
            "": DiscriminatorRecord(
                Signals(step, *numbers[2:], auc=0.7, d_equilibrium_loss=1.3862943611198906),
                1e-4,
                updated=True,
                fake_after=numbers[4],
                action=action,
                readings=readings,
            )
        },
    )


def measure(steps: int, policy: str) -> dict[str, float]:
    """Write, read and judge so many rows."""
    draw = random.Random(0)  # noqa: S311
    with tempfile.TemporaryDirectory() as name:
        run = RunFolder(Path(name))
        run.save_config(f"balance: {{policy: {policy}}}\n")
        lines = JsonLines(run.signals)
        started = time.process_time()
        for step in range(1, steps + 1):
            record = row(step, policy, draw)
            if is_written(record):
                lines.append(compact(record.to_json()))
        writing = time.process_time() - started
        lines.close()
        size = run.signals.stat().st_size
        started = time.process_time()
        (trace,) = read_log(run.path)
        reading = time.process_time() - started
        diagnose(trace)
        judging = time.process_time() - started - reading
    return {
        "bytes_per_step": size / steps,
        "mb_per_million_steps": size / steps,
        "write_us_per_step": 1e6 * writing / steps,
        "read_seconds": reading,
        "read_seconds_per_million_steps": reading / steps * 1e6,
        "judge_seconds": judging,
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000)
    given = parser.parse_args()
    report(
        "signals_growth",
        vars(given),
        {policy: measure(given.steps, policy) for policy in ("none", "auto")},
    )


if __name__ == "__main__":
    main()
