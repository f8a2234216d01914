"""Cells in other processes: the same rows, once each, however processes end."""

import importlib.util
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from counterpoise.errors import UserError, to_install
from counterpoise.study import workers as workers_module
from counterpoise.study.plan import Cell, StudyPlan, cells_of
from counterpoise.study.run import TRIES, outcomes
from counterpoise.study.workers import local_workers, ray_workers
from study_helpers import (
    BAD,
    PATIENCE_SECONDS,
    PLAN,
    InThisProcess,
    play,
    play_and_die_once,
    play_and_hang,
    play_and_miss,
    row_of,
    traced,
    wait_for,
)


def play_and_say(cell: Cell, plan: StudyPlan):
    """A row that says in what surroundings it was played."""
    import torch

    threads = f"{torch.get_num_threads()} {os.environ.get('OPENBLAS_NUM_THREADS')}"
    deaf = "deaf" if signal.getsignal(signal.SIGINT) == signal.SIG_IGN else "hears"
    return row_of(cell, findings=(str(os.getpid()), threads, deaf))


def rows_of(workers, cells=None):
    """The rows by cell; no cell has two."""
    found = list(outcomes(cells_of(PLAN) if cells is None else cells, workers))
    rows = {row.key: row for row in found}
    assert len(rows) == len(found)
    return rows


def in_process():
    return {cell.key: row_of(cell) for cell in cells_of(PLAN)}


def pid_in(trace):
    return trace.exists() and int(trace.read_text())


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_what_a_dead_worker_left_is_played_by_new_ones_and_given_up_in_the_end():
    workers = InThisProcess(dies={BAD: TRIES - 1})
    assert rows_of(workers) == in_process()
    assert workers.stopped == TRIES
    workers = InThisProcess(dies={BAD: TRIES})
    with pytest.raises(UserError, match=f"{TRIES} times a worker died .*: no memory"):
        list(outcomes(cells_of(PLAN), workers))


def test_a_user_error_stops_everything_and_nothing_is_started_for_nothing():
    workers = InThisProcess(play_and_miss)
    with pytest.raises(UserError, match="^scikit-learn is missing$"):
        list(outcomes(cells_of(PLAN), workers))
    assert workers.stopped == 1
    assert rows_of(workers, []) == {}
    assert workers.stopped == 1


def test_local_workers_play_as_this_process_does(monkeypatch):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    rows = rows_of(partial(local_workers, play_and_say, PLAN, 2))
    seen = [row.findings for row in rows.values()]
    assert {(threads, deaf) for _, threads, deaf in seen} == {("1 1", "deaf")}
    assert {c: r.model_copy(update={"findings": ("healthy",)}) for c, r in rows.items()} == (
        in_process()
    )
    assert not any(is_alive(int(pid)) for pid, *_ in seen)


def test_local_workers_play_it_all_though_one_is_killed(tmp_path):
    plan = traced(tmp_path / "died")
    assert rows_of(partial(local_workers, play_and_die_once, plan, 2)) == in_process()
    assert (tmp_path / "died").exists()


def test_closing_stops_workers_at_once(tmp_path):
    other = cells_of(PLAN)[0]
    running = outcomes(
        [other, BAD], partial(local_workers, play_and_hang, traced(tmp_path / "pid"), 2)
    )
    assert next(running).key == other.key
    pid = wait_for(lambda: pid_in(tmp_path / "pid"))
    assert is_alive(pid)
    running.close()
    assert not is_alive(pid)


def test_workers_do_not_outlive_a_parent_that_was_killed(tmp_path):
    code = (
        "from test_study_workers import *\n"
        f"plan = traced({str(tmp_path / 'pid')!r})\n"
        "list(outcomes([BAD], partial(local_workers, play_and_hang, plan, 1)))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as parent:
        pid = wait_for(lambda: pid_in(tmp_path / "pid"))
        assert is_alive(pid)
        parent.kill()
    wait_for(lambda: not is_alive(pid))


def test_a_worker_that_cannot_be_started_is_one_line(monkeypatch):
    def no_process(self):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.context.ForkServerProcess.start", no_process)
    with pytest.raises(UserError, match=r"cannot be started \(Resource temp.*fewer --workers"):
        rows_of(partial(local_workers, play, PLAN, 2))


class FakeRay:
    """As much of Ray as we use, in this process."""

    def __init__(self, error=None):
        self.error = error
        self.shut_down = 0

    def init(self, **options):
        self.options = options
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as Ray puts a handler of its own
        if self.error:
            raise self.error

    def shutdown(self):
        self.shut_down += 1

    def remote(self, **options):
        self.task_options = options
        workers = InThisProcess()

        def task(function):
            def remote(play, cell, plan):
                workers.play = lambda cell, plan: function(play, cell, plan)
                return SimpleNamespace(future=lambda: workers.submit(cell))

            return SimpleNamespace(remote=remote)

        return task


@pytest.fixture
def fake(monkeypatch):
    """Ray is a fake with these options."""
    before = signal.getsignal(signal.SIGTERM)

    def use(**options):
        ray = FakeRay(**options)
        monkeypatch.setitem(sys.modules, "ray", ray)
        monkeypatch.setattr(workers_module, "prepare_worker", lambda: None)
        return ray

    yield use
    assert signal.getsignal(signal.SIGTERM) is before


def test_ray_gives_the_same_rows(fake):
    ray = fake()
    assert rows_of(partial(ray_workers, play, PLAN, 2)) == in_process()
    assert (ray.options["address"], ray.options["num_cpus"]) == ("local", 2)
    assert ray.shut_down == 1


def test_what_ray_cannot_do_is_one_line(fake, monkeypatch):
    ray = fake(error=ConnectionError("nobody at home"))
    # The second is not tried for long, the third has no port.
    for address in ("auto", "127.0.0.1:1", "head", "127.0.0.1:99999"):
        with pytest.raises(UserError, match=f"no cluster at {address} .*HOST:PORT"):
            rows_of(partial(ray_workers, play, PLAN, 2, address))
    assert ray.options["address"] == "auto"
    assert "num_cpus" not in ray.options
    assert ray.shut_down == 4
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError) as missing:
        rows_of(partial(ray_workers, play, PLAN, 2))
    assert "counterpoise[ray]" in to_install(missing.value)


RAY_SCRIPT = """
import signal
import sys
from test_study_workers import *
before = signal.getsignal(signal.SIGTERM)
rows = rows_of(partial(ray_workers, play_and_die_once, traced(sys.argv[1]), 2))
assert signal.getsignal(signal.SIGTERM) is before
import ray
assert not ray.is_initialized()
assert rows == in_process()
"""


@pytest.mark.slow
def test_the_real_ray_gives_the_same_rows_though_a_worker_dies(tmp_path):
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", RAY_SCRIPT, tmp_path / "died"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "died").exists()
