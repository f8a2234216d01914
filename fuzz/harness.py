"""Feeds a reader with seeded mutations of real inputs, and holds it to time and memory.

A reader may return, or raise `UserError` with one line. Anything else is a failure: another
exception, more CPU seconds than allowed, or more memory than allowed. Input `n` of seed `s` is the
same on every machine, so that a failure is repeated by `--seed s --only n`.
"""

import argparse
import inspect
import random
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoise.errors import MOST_CHARACTERS, UserError

ROOT = Path(__file__).resolve().parent.parent
# A reader that waits (for a pipe that nobody writes to) uses no CPU: this ends it.
WAITING_SECONDS = 60.0
MIB = 1 << 20

# What one input did: "read", or a word of the target's own.
Check = Callable[[bytes, random.Random], str]
Make = Callable[[random.Random], bytes]


class TooSlowError(BaseException):
    """An input that took more time than it may. No `Exception`: no reader shall swallow it."""


class UnclearError(AssertionError):
    """A reader answered, but not as it promises."""


@dataclass(frozen=True)
class Target:
    """One reader: how its inputs are made, and how it is asked about one."""

    name: str
    make: Make
    check: Check


@dataclass
class Failure:
    """An input that a reader failed on; equal failures are told once."""

    number: int
    data: bytes
    trace: str


def run_one(target: Target, seed: int, number: int, seconds: float) -> tuple[str, Failure | None]:
    """The outcome of one input, and its failure where it is one."""
    source = random.Random(f"{target.name}:{seed}:{number}")  # noqa: S311
    data = target.make(source)
    try:
        with _limit(seconds):
            return target.check(data, source), None
    except UserError as error:
        text = str(error)
        if text and text == " ".join(text.splitlines()) and len(text) <= MOST_CHARACTERS:
            return "refused", None
        return "failed", Failure(number, data, f"UnclearError: not one short line: {text[:300]!r}")
    except (Exception, TooSlowError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        # The last frame of ours says where; the exception's own says what.
        ours = [f for f in frames if "counterpoise" in f.filename] or list(frames)
        if isinstance(error, TooSlowError):
            ours = ours[:2]
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
        return "failed", Failure(number, data, f"{type(error).__name__} at {place}: {error}"[:500])


@contextmanager
def _limit(seconds: float):  # noqa: ANN202
    """At most this much of the CPU, and of waiting."""

    def stop(*_: object) -> None:
        raise TooSlowError(f"more than {seconds} CPU seconds, or {WAITING_SECONDS} of waiting")

    signal.signal(signal.SIGVTALRM, stop)
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, WAITING_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def peak_mib() -> float:
    """The most memory that this process has had so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (MIB if sys.platform == "darwin" else 1 << 10)


def limit_memory(more_mib: int) -> None:
    """Let this process have that much more address space than it has; Linux alone can tell."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return
    line = next(x for x in status.read_text(encoding="ascii").splitlines() if "VmSize" in x)
    most = int(line.split()[1]) * 1024 + more_mib * MIB
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def fuzz(
    target: Target,
    numbers: Sequence[int],
    seed: int,
    seconds: float,
    most_failures: int = 50,
    report: Callable[[str], None] = lambda _: None,
) -> tuple[Counter[str], list[Failure]]:
    """Outcomes by kind, and one failure of each kind."""
    outcomes: Counter[str] = Counter()
    failures: dict[str, Failure] = {}
    started = told = time.monotonic()
    for count, number in enumerate(numbers, start=1):
        outcome, failure = run_one(target, seed, number, seconds)
        outcomes[outcome] += 1
        if failure is not None and failure.trace.partition(": ")[0] not in failures:
            failures[failure.trace.partition(": ")[0]] = failure
            report(f"input {failure.number}: {failure.trace}")
            if len(failures) == most_failures:
                break
        if time.monotonic() - told > 60:
            told = time.monotonic()
            rate = count / (told - started)
            report(f"{count} inputs, {rate:.0f} a second, peak {peak_mib():.0f} MiB: {outcomes}")
    return outcomes, list(failures.values())


def main(description: str, target: Target, default_count: int, atheris: bool = False) -> int:
    """The command line of a fuzzer; returns its exit code: 1 where anything failed."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--count", type=int, default=default_count, help="inputs to try")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="try this one input, and let it fail aloud")
    parser.add_argument("--seconds", type=float, default=5.0, help="CPU time for one input")
    parser.add_argument("--memory-mib", type=int, default=1024, help="memory beyond the start's")
    parser.add_argument("--save", type=Path, default=ROOT / "build" / "fuzz", help="for failures")
    parser.add_argument(
        "--atheris", action="store_true", help="let coverage guide the mutations (extra: fuzz)"
    )
    arguments = parser.parse_args()
    if arguments.only is not None:
        source = random.Random(f"{target.name}:{arguments.seed}:{arguments.only}")  # noqa: S311
        data = target.make(source)
        print(repr(data))
        print(target.check(data, source))
        return 0
    # What is imported late and what is kept once is no input's fault.
    fuzz(target, range(-200, 0), arguments.seed, 60.0)
    before_mib, started = peak_mib(), time.monotonic()
    limit_memory(arguments.memory_mib)
    if arguments.atheris:
        return _guided(target, arguments.count, arguments.seed)
    outcomes, failures = fuzz(
        target,
        range(arguments.count),
        arguments.seed,
        arguments.seconds,
        report=lambda text: print(f"{target.name}: {text}", flush=True),
    )
    for failure in failures:
        arguments.save.mkdir(parents=True, exist_ok=True)
        name = f"{target.name}-{arguments.seed}-{failure.number}"
        (arguments.save / name).write_bytes(failure.data)
    kinds = ", ".join(f"{number} {kind}" for kind, number in outcomes.most_common())
    print(
        f"{target.name}: {outcomes.total()} inputs of seed {arguments.seed} in "
        f"{time.monotonic() - started:.0f} s: {kinds}; {len(failures)} kinds of failures; memory "
        f"grew by {peak_mib() - before_mib:.0f} MiB at its peak"
    )
    return 1 if failures else 0


def _own_functions() -> list[Any]:
    """The functions and methods of counterpoise that are imported: what coverage is taken of."""
    found = {}
    for name, module in list(sys.modules.items()):
        if not name.startswith("counterpoise"):
            continue
        for thing in vars(module).values():
            for item in [thing, *(vars(thing).values() if isinstance(thing, type) else ())]:
                function = getattr(item, "__wrapped__", item)
                if inspect.isfunction(function) and function.__module__.startswith("counterpoise"):
                    found[id(function)] = function
    return list(found.values())


def _guided(target: Target, count: int, seed: int) -> int:
    """Atheris (libFuzzer) with our inputs as its corpus; it ends the process at a failure."""
    import tempfile

    import atheris

    def one(data: bytes) -> None:
        source = random.Random(data)  # noqa: S311
        try:
            target.check(data, source)
        except UserError:
            return

    with tempfile.TemporaryDirectory() as corpus:
        for number in range(500):
            source = random.Random(f"{target.name}:{seed}:{number}")  # noqa: S311
            Path(corpus, str(number)).write_bytes(target.make(source))
        for function in _own_functions():
            atheris.instrument_func(function)
        atheris.Setup([sys.argv[0], f"-runs={count}", f"-seed={seed}", "-timeout=20", corpus], one)
        atheris.Fuzz()
    return 0
