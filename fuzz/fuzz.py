"""Tries damaged and made-up inputs on the readers of logs, configurations, pictures and weights.

python fuzz/fuzz.py                                     all four
python fuzz/fuzz.py pictures --count 20000 --seed 7     one
python fuzz/fuzz.py pictures --seed 7 --only 123        one input, which fails aloud
"""

import argparse
import sys
import time

from harness import fuzz, limit_memory
from targets import TARGETS


def main() -> int:
    """The command line; 1 where anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="of " + ", ".join(TARGETS))
    parser.add_argument("--count", type=int, default=20_000, help="inputs to try of each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="try this one input")
    parser.add_argument("--memory-mib", type=int, default=4096, help="memory beyond the start's")
    arguments = parser.parse_args()
    targets = [TARGETS[name] for name in arguments.names or TARGETS]
    if arguments.only is not None:
        for target in targets:
            data, source = target.input(arguments.seed, arguments.only)
            print(repr(data))
            target.check(data, source)
        return 0
    for target in targets:  # what is imported late is no input's fault
        fuzz(target, range(-50, 0), arguments.seed)
    limit_memory(arguments.memory_mib)
    failed = False
    for target in targets:
        started = time.monotonic()
        outcomes, failures = fuzz(target, range(arguments.count), arguments.seed)
        seconds = time.monotonic() - started
        print(f"{target.name}: {dict(outcomes)} of seed {arguments.seed} in {seconds:.0f} s")
        print(*failures.values(), sep="\n", end="\n" if failures else "", flush=True)
        failed |= bool(failures)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
