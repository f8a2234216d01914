"""Fuzzes `counterpoise diagnose`: reading a log of any format, judging it, and showing the result.

    python fuzz/fuzz_diagnose.py --count 1000000 --seed 1

Inputs are mutations of the labelled corpus and of logs of every known format; they come as a
stream, a file, a run folder, StyleGAN's folder and TensorBoard's event files.
"""

import io
import json
import random
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import IO

from harness import ROOT, Target, UnclearError, main
from mutate import NUMBERS, TOKENS, mutated
from rich.console import Console

from counterpoise.commands.diagnosis import print_diagnosis, to_json
from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.diagnosis.objectives import OBJECTIVES
from counterpoise.logs.names import KNOWN
from counterpoise.logs.read import read_log
from counterpoise.pages.page import page_body
from counterpoise.pages.run import log_run
from counterpoise.trace import COLUMNS, Trace

MOST_BYTES = 1500
# One input in so many is large: what is quadratic shows there.
LARGE_EVERY, LARGE_BYTES = 5000, 200_000
SCRIPT = "<script"
NAMES = tuple(sorted({name.encode() + b": " for name in (*KNOWN, *COLUMNS)}))
EXAMPLES = (
    b"Epoch 1/3\n9/9 [====] - 0s 2ms/step - d_loss: 0.6931 - g_loss: 0.7012 - d_acc: 50.0\n" * 8,
    b"step;d_loss;g_loss\n1;0,5;1,5\n2;0,25;2,5\n3;0,1;3,5\n4;0,1;3\n5;0,1;3\n6;0,1;3\n7;0,1;2\n",
    b"step\tloss_d\tloss_g\n" + b"".join(b"%d\t0.5\t1.5\n" % n for n in range(12)),
    b"iter  errD  errG\n" + b"".join(b"%d  0.5  1.5\n" % n for n in range(12)),
    b"<epoch: 12, iter:   5,000, lr:1.000e-04> G_loss: 1e-2 F_loss: 2e-1 D_loss: 3e-1 D_real: "
    b"1.5 D_fake: -1.5\n" * 7,
    b"D_A: 0.2 G_A: 0.3 cycle_A: 1.1\n(epoch: 1, iters: 100, time: 0.1, data: 0.2) D_A: 0.2 "
    b"G_A: 0.3 cycle_A: 1.1 D_B: 0.1 G_B: 0.4\n" * 7,
    b"loss_d\n0.5\n0.25\n0.125\n0.5\n0.25\n0.125\n",
    b"0 [D loss: 0.69, acc.: 50.00%] [G loss: 0.70]\n" * 8,
    b'[{"step": 1, "d_loss": 0.5},\n{"step": 2, "d_loss": 0.4}]\n',
    b"--------\n| step | 1 |\n| train/d_loss | 0.5 |\n--------\n" * 8,
    b"| step | d_loss | g_loss |\n|---|---|---|\n" + b"| 1 | 0.5 | 1.5 |\n" * 8,
    b"   step  D Loss  G Loss\n" + b"".join(b"%d  %d  0.5  1.5\n" % (n, n) for n in range(9)),
    b'"Step","a - loss_D","a - loss_D__MIN","b - loss_D"\n' + b'"1","0.5","0.1","0.9"\n' * 8,
    b'{\n "d_loss": [0.5, 0.4, NaN],\n "losses": {"g": {"g_loss": [1, 2, 3]}}\n}\n',
    b'[\n {\n  "step": 1,\n  "d_loss_step": 0.5,\n  "d_loss_epoch": 0.5\n }\n]\n',
    b'{\n "cells": [\n{"cell_type": "code", "outputs": [{"text": ["d_loss: 0.5\\n", "d_loss"]},\n'
    b'{"data": {"text/plain": "d_loss: 0.5"}}]}],\n "nbformat": 4}\n',
    "step,d_loss,g_loss\n1,0.5,1.5\n2,0.5,1.5\n".encode("utf-16"),
    b"1,0.5,1.5\n2,0.25,2.5\n",
)


@cache
def seeds() -> list[bytes]:
    """Pieces of real logs, a kilobyte or two each."""
    found = list(EXAMPLES)
    for path in sorted([*(ROOT / "corpus").rglob("*"), *(ROOT / "tests" / "data").rglob("*")]):
        if path.is_file() and path.suffix in (".log", ".csv", ".txt", ".jsonl"):
            lines = path.read_bytes().splitlines(keepends=True)
            header = lines[:1] if path.suffix == ".csv" else []
            for start in (0, len(lines) // 2):
                piece = b"".join([*header, *lines[start : start + 30]])
                found.append(piece[: piece.rfind(b"\n", 0, 1000) + 1])
    return [piece for piece in found if piece]


def make(source: random.Random) -> bytes:
    """A mutated piece of a log, once in a while a large one."""
    most = LARGE_BYTES if source.randrange(LARGE_EVERY) == 0 else MOST_BYTES
    data = source.choice(seeds())
    if most == LARGE_BYTES:
        data = data * (most // len(data))
    tokens = NAMES if source.random() < 0.3 else TOKENS
    return mutated(data, source.choice(seeds()), source, most, tokens)


def _stream(data: bytes) -> IO[str]:
    """What the command makes of a pipe."""
    return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="replace")


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-diagnose-"))


def _events(data: bytes, source: random.Random) -> bytes:
    """An event file with the numbers of `data`; half of them damaged as bytes."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    file = io.BytesIO()
    writer = RecordWriter(file)
    tags = ("Loss/D", "loss_g", "D(x)", "g_terms/adversarial", "x" * 500, "")
    for number in range(source.randrange(12)):
        text = source.choice(NUMBERS) if source.random() < 0.3 else b"%d.5" % number
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        steps = (number, number, -number, 1 << 62, -(1 << 63))
        summary = Summary.Value(tag=source.choice(tags))
        if source.random() < 0.5:
            summary.simple_value = value
        else:
            summary.tensor.dtype = source.choice((1, 1, 2, 3, 7))
            if source.random() < 0.7:
                summary.tensor.float_val.append(value)
            else:
                summary.tensor.tensor_content = data[: source.randrange(16)]
            for _ in range(source.choice((0, 0, 1, 2))):
                summary.tensor.tensor_shape.dim.add(size=source.choice((0, 1, 2, -1, 1 << 40)))
        event = Event(step=source.choice(steps), summary=Summary(value=[summary]))
        writer.write(event.SerializeToString())
    whole = file.getvalue()
    return whole if source.random() < 0.5 else mutated(whole, data, source, MOST_BYTES, TOKENS)


def _read(data: bytes, source: random.Random) -> list[Trace]:
    kind = source.random()
    if kind < 0.75:
        return read_log(_stream(data))
    folder = _folder()
    for old in folder.iterdir():
        old.unlink()
    if kind < 0.87:
        path = folder / "a <script>.log"
        path.write_bytes(data)
        return read_log(path)
    if kind < 0.94:
        (folder / "signals.jsonl").write_bytes(data)
        (folder / "config.yaml").write_bytes(
            source.choice((b"loss: {adversarial: {form: lsgan}}", data[:200], b"[" * 5000, b""))
        )
        return read_log(folder)
    if kind < 0.97:
        (folder / "stats.jsonl").write_bytes(data)
        return read_log(folder)
    (folder / "events.out.tfevents.1").write_bytes(_events(data, source))
    return read_log(folder)


def _no_constant(name: str) -> None:
    raise UnclearError(f"{name} in the JSON")


def check(data: bytes, source: random.Random) -> str:
    """Read, judge and show one log as the command does."""
    traces = _read(data, source)
    objective = source.choice(sorted(OBJECTIVES)) if source.random() < 0.1 else None
    runs = [(trace, diagnose(trace, objective)) for trace in traces]
    for _, diagnosis in runs:
        line = to_json(diagnosis)
        if "\n" in line:
            raise UnclearError("JSON of several lines")
        json.loads(line, parse_constant=_no_constant)
    if source.random() < 0.04:
        page = page_body([log_run("log", runs)], "")
        page.encode()
        if page.count(SCRIPT) > 1:  # its own data
            raise UnclearError("a script in the page")
    if source.random() < 0.005:
        console = Console(file=io.StringIO(), width=source.choice((10, 40, 120)))
        for trace, diagnosis in runs:
            print_diagnosis(trace, diagnosis, console)
    return "judged"


TARGET = Target("diagnose", make, check)

if __name__ == "__main__":
    sys.exit(main(__doc__, TARGET, 1_000_000, atheris=True))
