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

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.logs.read import read_log

LINE = (
    "Epoch {epoch}/500 - Step: {step}/9338  Loss G: {g:.6f}  Loss D: {d:.6f}  D(x): {real:.6f}  "
    "D(G(z)): {before:.6f} / {after:.6f}\n"
)


def write_log(path: Path, lines: int) -> None:
    """A log in the question's format."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(lines):
            wave = number % 997 / 997
            file.write(
                LINE.format(
                    epoch=number // 9338 + 1,
                    step=number % 9338,
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


def main() -> None:
    """Read logs of a tenth of the lines and of all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for lines in (arguments.lines // 10, arguments.lines):
            path = Path(folder) / "train.log"
            write_log(path, lines)
            started = time.process_time()
            (trace,) = read_log(path)
            diagnosis = diagnose(trace)
            seconds = time.process_time() - started
            print(
                f"{lines} lines: {seconds:.1f} s, peak {peak_mib():.0f} MiB, {len(trace)} rows, "
                f"{', '.join(sorted(diagnosis.ids()))}"
            )


if __name__ == "__main__":
    main()
