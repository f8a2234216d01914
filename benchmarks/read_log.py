"""What it takes to read and judge a log of a million lines.

    python benchmarks/read_log.py [--lines 1000000]

Prints seconds and the peak of this process's memory, which must not grow with the log.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.logs.read import read_log

QUESTIONS = (
    "Epoch {epoch}/500 - Step: {step}/9338  Loss G: {g:.6f}  Loss D: {d:.6f}  D(x): {real:.6f}  "
    "D(G(z)): {before:.6f} / {after:.6f}\n"
)
BASICSR = (
    "2024-01-01 12:00:00,123 INFO: [train..][epoch:{epoch:3d}, iter:{step:8,d}, lr:(1.000e-04,)] "
    "[eta: 1:02:03, time (data): 0.500 (0.002)] l_g_pix: {g:.4e} l_g_percep: {g:.4e} l_g_gan: "
    "{d:.4e} l_d_real: {d:.4e} out_d_real: {real:.4e} l_d_fake: {d:.4e} out_d_fake: {before:.4e}\n"
)
PLAIN = "step: {step}  errG: {g:.4f} errD: {d:.4f} D(x): {real:.4f} D(G(z)): {before:.4f}\n"
CYCLEGAN = (
    "(epoch: {epoch}, iters: {step}, time: 0.1, data: 0.2) D_A: {before:.3f} G_A: {real:.3f} "
    "cycle_A: {g:.3f} D_B: {after:.3f} G_B: {real:.3f} cycle_B: {g:.3f}\n"
)
TICKS = (
    "tick {step:<5d} kimg {step:<8.1f} time 12m 05s  sec/tick {g:<7.1f} maintenance {d:<6.1f} "
    "gpumem {g:<6.2f} augment {real:.3f} loss_d: {d:.3f} loss_g: {g:.3f}\n"
)
CHINESE = (
    "第 {step}/1000000 步\uff0c判别器损失\uff1a{d:.4f}\uff0c生成器损失\uff1a{g:.4f}\uff0c"
    "真图得分\uff1a{real:.4f}\n"
)
CSV = "{step},{epoch},{d:.5f},{g:.5f},{real:.5f},{before:.5f}\n"
CSV_HEADER = "step,epoch,d_loss,g_loss,D(x),time\n"
JSON_LINES = '{{"step": {step}, "losses": {{"d_loss": {d}, "g_loss": {g}}}, "time": {before}}}\n'


def write_log(path: Path, lines: int, line: str) -> None:
    """A log of these lines."""
    with path.open("w", encoding="utf-8") as file:
        file.write(CSV_HEADER if line is CSV else "")
        for number in range(lines):
            wave = number % 997 / 997
            file.write(
                line.format(
                    epoch=number // 9338 + 1,
                    step=number % 9338 if line is QUESTIONS else number,
                    g=2 + wave,
                    d=1.1 + wave / 5,
                    real=0.6 + wave / 10,
                    before=0.35 + wave / 10,
                    after=0.34 + wave / 10,
                )
            )


def peak_mib() -> float:
    """The most memory that this process has had so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def measure(lines: int) -> dict[str, Any]:
    """CPU seconds, this process's peak of memory so far, and what was found, of each log."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.log"
        for name, line, count in (
            ("a tenth", QUESTIONS, lines // 10),
            ("the question's", QUESTIONS, lines),
            ("BasicSR's", BASICSR, lines),
            ("names and values", PLAIN, lines),
            ("CycleGAN's, two games", CYCLEGAN, lines),
            ("ticks", TICKS, lines),
            ("in Chinese", CHINESE, lines),
            ("CSV", CSV, lines),
            ("JSON lines", JSON_LINES, lines),
        ):
            write_log(path, count, line)
            started = time.process_time()
            traces = read_log(path)
            diagnoses = [diagnose(trace) for trace in traces]
            results[name] = {
                "lines": count,
                "seconds": time.process_time() - started,
                "peak_mib": peak_mib(),
                "read_as": traces[0].format,
                "rows": len(traces[0]),
                "findings": [sorted(diagnosis.ids()) for diagnosis in diagnoses],
            }
    return results


def main() -> None:
    """Read a tenth of the lines and all of them, and as many of seven other kinds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=1_000_000)
    given = parser.parse_args()
    results = measure(given.lines)
    from measuring import report  # brings PyTorch, whose memory is not the reader's

    report("read_log", vars(given), results)


if __name__ == "__main__":
    main()
