"""Trainings that are killed, and disks that get full, at a chosen moment."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from counterpoise.json_lines import read_json_lines
from counterpoise.run_folder import RunFolder
from helpers import write_images
from training_helpers import signals, tiny, without_time

HERE = Path(__file__).parent
# Actions of `fault_shim.c`.
COUNT, KILL_BEFORE, KILL_AMID, FULL_ONCE, FULL_FROM = range(5)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int  # negative: a signal
    seconds: float
    out: str
    err: str
    # Operations on files that it asked for; 0 where it was killed.
    count: int = 0
    # The operation at which the fault struck.
    fired_on: str = ""


class Server:
    """Runs command lines in forked children of one process that has everything imported."""

    def __init__(self, folder: Path, shim: Path | None = None) -> None:
        self.folder = folder
        environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        if shim is not None:
            environment["LD_PRELOAD"] = str(shim)
        self._process = subprocess.Popen(
            [sys.executable, HERE / "fault_server.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._answer()

    def run(
        self,
        *arguments,
        below: Path | str = "",
        at: int = 0,
        action: int = COUNT,
        after_s: float | None = None,
        number: int = signal.SIGKILL,
        before: tuple[str, ...] = (),
    ) -> Ended:
        """Run a command line; do `action` at the `at`-th operation on a file `below` a folder, or
        send signal `number` after so many seconds. `before`: statements of the child's own.
        """
        out, err, found = (self.folder / name for name in ("out", "err", "found"))
        found.unlink(missing_ok=True)
        order = {
            "arguments": [str(a) for a in arguments],
            "below": str(below),
            "at": at,
            "action": action,
            "after_s": after_s,
            "signal": number,
            "before": list(before),
        } | {"out": str(out), "err": str(err), "found": str(found)}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        extra = json.loads(found.read_text()) if found.exists() else {}
        return Ended(out=out.read_text(), err=err.read_text(), **answer, **extra)

    def _answer(self):
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the server of faults has ended"
        return json.loads(line)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *error: object) -> None:
        # Said, since children of the test's process may hold the pipe open.
        assert self._process.stdin is not None
        self._process.stdin.write("null\n")
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


def build_shim(folder: Path) -> Path:
    """Compile `fault_shim.c`; skips where that cannot be."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("faults at a chosen write need Linux and a C compiler (cc)")
    library = folder / "fault_shim.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "fault_shim.c", "-ldl"],
        check=True,
    )
    return library


def short_config(folder: Path) -> Path:
    """The file of a training's configuration for seconds: E, then E and A; 8 steps of both.

    With a policy that keeps snapshots and its own state, sensors, and images of its own, two of
    them held out, so that scoring can be stopped between them.
    """
    write_images(folder / "images", 6)
    config = tiny(
        *("train.checkpoint_every=2", "train.keep_checkpoints=2", "train.batch_size=2"),
        *("train.sample_every=4", "train.log_every=4"),
        *("data.held_out_px=32", "data.held_out_images=2"),
        "balance.policy=auto",
        "sensors={every: 4, held_out_crops: 2}",
        data=folder / "images",
    )
    file = folder / "short.yaml"
    file.write_text(config.to_yaml())
    return file


class Life:
    """One training to which something happens again and again until it has ended."""

    def __init__(self, server: Server, config: Path, path: Path) -> None:
        self.server, self.path = server, path
        self._start = ("train", "--config", config, "--run-dir", path)

    def play(self, **fault) -> Ended:
        """Start or resume it, with a fault."""
        begun = RunFolder(self.path).config.exists()
        line = ("resume", self.path) if begun else self._start
        return self.server.run(*line, below=self.path, **fault)

    def check(self, undisturbed: Path) -> None:
        """It goes on to its end; what is there is what an undisturbed run leaves."""
        ended = self.play()
        assert ended.code == 0, ended.err
        assert differing(results(self.path), results(undisturbed)) == []
        assert leftovers(self.path) == []
        run = RunFolder(self.path)
        for file in (run.signals, run.metrics, run.events):
            assert read_json_lines(file)[1] == []
        shutil.rmtree(self.path)


def results(path: Path) -> dict:
    """Everything that must be the same whatever happened on the way, comparable with `==`."""
    run = RunFolder(path)
    newest = run.checkpoint_files()[-1]
    files = {"newest checkpoint": newest, "generator": run.generator}
    files["pretrained generator"] = run.pretrained_generator
    found = {name: contents(file) for name, file in files.items()}
    found["newest checkpoint's step"] = newest.name
    found["signals"] = without_time(signals(path))
    found["metrics"] = run.metrics.read_text()
    found["samples"] = {file.name: file.read_bytes() for file in run.sample_files()}
    found["config"] = run.config.read_text()
    return found


def contents(path: Path) -> dict:
    """A safetensors file's metadata, and the bytes of its tensors by name."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        found = {name: (str(t.dtype), tuple(t.shape), raw(t)) for name, t in tensors.items()}
        return {"metadata": file.metadata(), **found}


def raw(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()


def differing(one: dict, other: dict) -> list[str]:
    """The names whose values differ: a readable failure."""
    return [name for name in one.keys() | other.keys() if one.get(name) != other.get(name)]


def leftovers(path: Path) -> list[str]:
    """Temporary files below a folder, whoever named them."""
    names = [str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()]
    return [name for name in names if ".tmp" in Path(name).name]
