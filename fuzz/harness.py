"""Feeds readers with seeded mutations of real inputs.

A reader may answer, or raise `UserError` with one line. Anything else is a failure: another
exception, a wait of many seconds, or more memory than allowed. Input `n` of seed `s` is the same
on every machine, so that a failure is repeated by `--seed s --only n`.
"""

import random
import re
import resource
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoise.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 20.0

# Somebody's, in a name: no page may have it as it is.
SCRIPT = "<script>alert(1)"
# What programs print and what damage leaves, and what somebody may put into a name.
NUMBERS = (
    b"nan", b"NaN", b"inf", b"-inf", b"Infinity", b"0", b"-0", b"-1", b"1e308", b"1e309", b"5e-324",
    b"9223372036854775808", b"1,000", b"1.2.3", b"1e", b".", b"", b"100%", b"1/2", b"null", b"None",
)  # fmt: skip
TOKENS = (
    b"\0", b"\r", b"\n", b"\r\n", b"\t", b"\x1b[31m", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe",
    "\u2028".encode(), "\U0001f4a5".encode(), SCRIPT.encode(), b"</title>", b"'><img>",
    b"{", b"}", b"[", b"]", b",", b";", b":", b"=", b"|", b"\"", b"\\", b"%", b"(", b"#",
    b"Epoch 1/5\n", b"[0/5][1/9]\t", b"Loss_D: ", b"D(G(z)): 0.1 / 0.2", b"d_loss=", b"step",
    b"[bold]", b"{{7*7}}", b"%s%n", b"../../x", b"step,d_loss,g_loss\n1,2,3\n",
)  # fmt: skip
_NUMBER = re.compile(rb"-?\d[\d.,]*(?:[eE][-+]?\d+)?")


class UnclearError(AssertionError):
    """A reader answered, but not as it promises."""


class _TooSlowError(BaseException):
    """An input that took more time than it may. No `Exception`: no reader shall swallow it."""


@dataclass(frozen=True)
class Target:
    """One reader: what its inputs are made from, how, and how it is asked about one."""

    name: str
    seeds: Callable[[], list[bytes]]
    check: Callable[[bytes, random.Random], Any]
    make: Callable[[list[bytes], random.Random], bytes] | None = None

    def input(self, seed: int, number: int) -> tuple[bytes, random.Random]:
        """An input, and the source of what else is random about it."""
        source = random.Random(f"{self.name}:{seed}:{number}")  # noqa: S311
        return (self.make or mutated)(self.seeds(), source), source


def mutated(seeds: list[bytes], source: random.Random, most_bytes: int = 20_000) -> bytes:
    """One of the seeds after a few random changes."""
    data, other = source.choice(seeds), source.choice(seeds)
    for _ in range(source.choice((0, 1, 1, 2, 3, 5, 8, 20))):
        start = source.randrange(len(data) + 1)
        end = min(len(data), start + source.randrange(1, 200))
        kind = source.randrange(8)
        if kind == 0 and data:
            at = min(start, len(data) - 1)
            data = data[:at] + bytes([source.randrange(256)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:start] + source.choice(TOKENS) + data[start:]
        elif kind == 2:
            data = data[:start] + data[end:]
        elif kind == 3:
            data = data[:end] + data[start:end] * source.choice((1, 2, 10)) + data[end:]
        elif kind == 4:
            data = data[:start]
        elif kind == 5:
            data = data[:start] + other[source.randrange(len(other) + 1) :]
        elif matches := list(_NUMBER.finditer(data)):
            match = source.choice(matches)
            data = data[: match.start()] + source.choice(NUMBERS) + data[match.end() :]
        data = data[:most_bytes]
    return data


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _TooSlowError(f"more than {seconds} s")

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def run_one(target: Target, seed: int, number: int, seconds: float = SECONDS) -> tuple[str, str]:
    """The outcome of one input: "read", "refused", or "failed" and what happened."""
    data, source = target.input(seed, number)
    try:
        with _limit(seconds):
            target.check(data, source)
        return "read", ""
    except UserError as error:
        text = str(error)
        if text and text == " ".join(text.splitlines()):
            return "refused", ""
        return "failed", f"UnclearError: not one line: {text[:300]!r}"
    except (Exception, _TooSlowError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if "counterpoise" in f.filename] or list(frames)
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
        return "failed", f"{type(error).__name__} at {place}: {error}"[:500]


def fuzz(
    target: Target, numbers: Iterable[int], seed: int, seconds: float = SECONDS
) -> tuple[Counter[str], dict[str, str]]:
    """Outcomes by kind, and the first failure of each kind, with the number of its input."""
    outcomes: Counter[str] = Counter()
    failures: dict[str, str] = {}
    for number in numbers:
        outcome, trace = run_one(target, seed, number, seconds)
        outcomes[outcome] += 1
        if outcome == "failed":
            failures.setdefault(trace.partition(": ")[0], f"input {number}: {trace}")
    return outcomes, failures


def limit_memory(more_mib: int) -> None:
    """Let this process have that much more address space than it has; Linux alone can tell."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(x for x in status.read_text(encoding="ascii").splitlines() if "VmSize" in x)
        most = (int(line.split()[1]) << 10) + (more_mib << 20)
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
