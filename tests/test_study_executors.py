"""Cells in other processes: the same rows, once each, however processes end."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from counterpoise.errors import UserError
from counterpoise.study import ray_executor
from counterpoise.study.executors import MOST_TRIES, answer_of, error_row
from counterpoise.study.local_executor import LocalExecutor, how_it_ended
from counterpoise.study.plan import Cell, StudyPlan, cells_of
from counterpoise.study.ray_executor import RayExecutor
from study_helpers import (
    PLAN,
    TRIES,
    play,
    play_and_always_die,
    play_and_die_once,
    play_and_miss,
    play_and_raise,
    row_of,
)

DYING = Cell("ring", "none", "auto", 0)
# Where cells write the numbers of their processes; set by the test, inherited by workers.
PIDS = "COUNTERPOISE_TEST_PIDS"
PATIENCE_SECONDS = 60.0


def play_and_tell(cell: Cell, plan: StudyPlan):
    """A row that says in what surroundings it was played."""
    import torch

    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return row_of(cell) | {
        "pid": os.getpid(),
        "threads": torch.get_num_threads(),
        "environment": os.environ.get("OPENBLAS_NUM_THREADS"),
        "deaf_to_interrupts": signal.SIGINT in blocked,
    }


def play_and_hang(cell: Cell, plan: StudyPlan):
    """Write the process's number, and hang at the first try."""
    file = Path(os.environ[PIDS]) / cell.key.replace("/", "-")
    first = not file.exists()
    file.with_suffix(".new").write_text(str(os.getpid()))
    file.with_suffix(".new").replace(file)
    if first:
        time.sleep(PATIENCE_SECONDS)
    return row_of(cell)


def play_not_a_number(cell: Cell, plan: StudyPlan):
    return row_of(cell, score=float("nan"))


def rows_of(executor, cells):
    """The rows by key, and what was lost; no cell has two rows."""
    outcomes = list(executor.outcomes(cells))
    rows = {o.cell.key: o.row for o in outcomes if o.row is not None}
    lost = [o.lost for o in outcomes if o.row is None]
    assert len(rows) + len(lost) == len(outcomes)
    return rows, lost


def in_process(cells=None, play=play):
    return {cell.key: play(cell, PLAN) for cell in cells or cells_of(PLAN)}


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value


def pid_in(folder, cell):
    file = folder / cell.key.replace("/", "-")
    return file.exists() and int(file.read_text())


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_an_exception_is_an_error_row_of_one_line_with_its_place():
    kind, row = answer_of(play_and_raise, DYING, PLAN)
    assert kind == "row"
    message = row.pop("message")
    assert row == {
        "task": "ring",
        "stressor": "none",
        "strategy": "auto",
        "seed": 0,
        "status": "error",
    }
    assert message.startswith("RuntimeError: this cell has a bug (study_helpers.py:")


def test_a_row_that_is_not_strict_json_is_an_error_too():
    _, row = answer_of(play_not_a_number, DYING, PLAN)
    assert row["status"] == "error"
    assert "not JSON compliant" in row["message"]


def test_a_user_error_is_passed_on():
    assert answer_of(play_and_miss, DYING, PLAN) == ("user error", "scikit-learn is missing")


def test_workers_play_as_this_process_does_with_one_thread_each():
    before = dict(os.environ)
    rows, lost = rows_of(LocalExecutor(play_and_tell, PLAN, 2), cells_of(PLAN))
    assert dict(os.environ) == before
    surroundings = ("pid", "threads", "environment", "deaf_to_interrupts")
    told = [[row.pop(name) for name in surroundings] for row in rows.values()]
    assert not lost
    assert rows == in_process()
    assert len({pid for pid, *_ in told}) == 2
    assert [rest for _, *rest in told] == [[1, "1", True]] * len(cells_of(PLAN))
    assert not any(is_alive(pid) for pid, *_ in told)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_worker_killed_in_the_middle_costs_only_its_try(tmp_path, monkeypatch):
    monkeypatch.setenv(PIDS, str(tmp_path))
    cells = cells_of(PLAN)[:1]

    def kill():
        os.kill(wait_for(lambda: pid_in(tmp_path, cells[0])), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    rows, lost = rows_of(LocalExecutor(play_and_hang, PLAN, 2), cells)
    killer.join()
    assert rows == in_process(cells)
    assert lost == [
        f"{cells[0].key}: its worker died (SIGKILL, as when memory runs out): run again"
    ]


def test_a_cell_that_always_kills_its_worker_is_given_up_and_the_others_are_not():
    rows, lost = rows_of(LocalExecutor(play_and_always_die, PLAN, 2), cells_of(PLAN))
    given_up = rows.pop(DYING.key)
    assert len(lost) == MOST_TRIES - 1
    how = "SIGKILL, as when memory runs out"
    assert given_up == error_row(DYING, f"its worker died 3 times, at last: {how}")
    expected = in_process()
    del expected[DYING.key]
    assert rows == expected


def test_a_user_error_stops_everything():
    executor = LocalExecutor(play_and_miss, PLAN, 1)
    with pytest.raises(UserError, match="^scikit-learn is missing$"):
        list(executor.outcomes(cells_of(PLAN)))


def test_closing_stops_workers_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv(PIDS, str(tmp_path))
    first, second = cells_of(PLAN)[:2]
    (tmp_path / first.key.replace("/", "-")).touch()  # so that it does not hang
    outcomes = LocalExecutor(play_and_hang, PLAN, 2).outcomes([first, second])
    assert next(outcomes).cell == first
    pid = wait_for(lambda: pid_in(tmp_path, second))
    started = time.monotonic()
    outcomes.close()
    assert not is_alive(pid)
    assert time.monotonic() - started < PATIENCE_SECONDS / 2


def test_workers_do_not_outlive_a_parent_that_was_killed(tmp_path):
    code = (
        "from test_study_executors import *\n"
        "list(LocalExecutor(play_and_hang, PLAN, 1).outcomes(cells_of(PLAN)[:1]))"
    )
    environment = os.environ | {PIDS: str(tmp_path), "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as parent:
        pid = wait_for(lambda: pid_in(tmp_path, cells_of(PLAN)[0]))
        assert is_alive(pid)
        parent.kill()
    wait_for(lambda: not is_alive(pid))


def test_a_worker_that_cannot_be_started_is_one_line(monkeypatch):
    def no_process(self):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.context.SpawnProcess.start", no_process)
    with pytest.raises(UserError, match=r"cannot be started \(Resource temp.*fewer --workers"):
        list(LocalExecutor(play, PLAN, 2).outcomes(cells_of(PLAN)))


def test_exit_codes_are_said_in_words():
    assert how_it_ended(3) == "exit code 3"
    assert how_it_ended(-signal.SIGSEGV) == "SIGSEGV"
    assert how_it_ended(-signal.SIGKILL) == "SIGKILL, as when memory runs out"


RAY_SCRIPT = """
import json, signal, sys
from test_study_executors import *
with_us = signal.getsignal(signal.SIGTERM)
rows, lost = rows_of(RayExecutor(play_on_ray, PLAN, 2), cells_of(PLAN))
assert signal.getsignal(signal.SIGTERM) is with_us
import ray
assert not ray.is_initialized()
print(json.dumps({"rows": rows, "lost": lost}))
"""


def play_on_ray(cell: Cell, plan: StudyPlan):
    """One cell kills its worker once, another has a bug."""
    if cell == Cell("digits", "none", "auto", 1):
        return play_and_raise(cell, plan)
    return play_and_die_once(cell, plan)


def test_ray_gives_the_same_rows_though_a_worker_dies(tmp_path):
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed")
    environment = os.environ | {TRIES: str(tmp_path), "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        [sys.executable, "-c", RAY_SCRIPT],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    bug = told["rows"].pop("digits/none/auto/1")
    assert bug["message"].startswith("RuntimeError: this cell has a bug")
    expected = in_process()
    del expected["digits/none/auto/1"]
    assert told["rows"] == expected
    assert len(told["lost"]) == 1
    assert told["lost"][0].startswith(f"{DYING.key}: its worker died (")
    assert (tmp_path / "ring-none-auto-0").read_text() == "xx"


def test_ray_that_is_missing_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"needs Ray; install it: pip install 'counterpoise\[ray\]"):
        list(RayExecutor(play, PLAN, 2).outcomes(cells_of(PLAN)))
    assert list(RayExecutor(play, PLAN, 2).outcomes([])) == []


class FakeRay:
    """As much of Ray as says no."""

    def __init__(self, error=None):
        self.error, self.shut_down = error, 0

    def init(self, **options):
        self.options = options
        if self.error:
            raise self.error

    def shutdown(self):
        self.shut_down += 1

    def cluster_resources(self):
        return {"CPU": 2.0}


def test_a_cluster_that_does_not_answer_is_one_line(monkeypatch):
    fake = FakeRay(ConnectionError("nobody\nat home"))
    monkeypatch.setattr(ray_executor, "_import_ray", lambda: fake)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UserError, match=rf"^Ray: no cluster at {address} \(nobody at home\)"):
            list(RayExecutor(play, PLAN, 2, address).outcomes(cells_of(PLAN)))
    assert fake.options["address"] == address
    assert "num_cpus" not in fake.options
    assert fake.shut_down == 1


def test_an_address_where_nobody_listens_is_not_tried_for_long(monkeypatch):
    monkeypatch.setattr(ray_executor, "_import_ray", FakeRay)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"ray://127.0.0.1:{server.getsockname()[1]}"
    for wrong, words in {
        address: "nobody answers .*refused",
        "head": "give HOST:PORT, ray://HOST:PORT or auto",
        "127.0.0.1:99999": "nobody answers",
    }.items():
        with pytest.raises(UserError, match=f"^--address {wrong}: {words}"):
            list(RayExecutor(play, PLAN, 2, wrong).outcomes(cells_of(PLAN)))


def test_an_interrupt_waits_until_ray_has_started(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    fake, told = FakeRay(), []

    def init(**options):
        signal.raise_signal(signal.SIGINT)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as Ray does with a handler of its own
        told.append("started")

    fake.init = init
    monkeypatch.setattr(ray_executor, "_import_ray", lambda: fake)
    with pytest.raises(KeyboardInterrupt):
        list(RayExecutor(play, PLAN, 2).outcomes(cells_of(PLAN)))
    assert (told, fake.shut_down) == (["started"], 1)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_cluster_without_a_gpu_is_not_waited_for(monkeypatch):
    fake = FakeRay()
    monkeypatch.setattr(ray_executor, "_import_ray", lambda: fake)
    plan = PLAN.model_copy(update={"device": "cuda"})
    with pytest.raises(UserError, match="needs a GPU, and the Ray cluster has none"):
        list(RayExecutor(play, plan, 2).outcomes(cells_of(plan)))
    assert (fake.options["num_cpus"], fake.options["include_dashboard"]) == (2, False)
    assert fake.shut_down == 1
