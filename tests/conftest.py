"""Shared fixtures."""

import gc
import os
import shutil
import sys
from pathlib import Path

# The networks of the tests are tiny: a second thread only waits, and on a busy machine for long.
# Set before torch is imported, so that the processes that tests start have it too.
os.environ["OMP_NUM_THREADS"] = "1"
# Compiling the package anew takes a process that a test starts longer than most tests take.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import pytest
from hypothesis import settings

from counterpoise import cli

# Nothing here is timed: a busy machine must not fail a test. The examples are the same each time:
# `make fuzz` looks for new ones.
settings.register_profile("counterpoise", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("counterpoise")

# What is imported and collected stays until the end: it is not searched for garbage.
gc.disable()


def pytest_collection_modifyitems(items):
    """All that needs the server of faults is in the first worker: it takes seconds to start."""
    items.sort(key=lambda item: "fault_server" not in item.fixturenames)


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


DATA = Path(
    os.environ.get("COUNTERPOISE_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data")
)


@pytest.fixture
def shared_data() -> Path:
    """The folder of benchmark images and published weights, which the project does not ship."""
    if not DATA.is_dir():
        pytest.skip("shared/data (benchmark images and published weights) is not here")
    return DATA


@pytest.fixture
def counterpoise(capsys, monkeypatch):
    """Run the command line in this process: (exit code, output, errors)."""

    def run(*arguments, width=200):
        monkeypatch.setattr(sys, "argv", ["counterpoise", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr("rich._console", None)  # it keeps the width that it began with
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished training of 8 steps: E, then E and A, with the paper's rule. Copy it to change
    anything in it."""
    from training_helpers import run, tiny

    path = tmp_path_factory.mktemp("runs") / "tiny"
    outcome = run(tiny(), path)
    assert (outcome.step, outcome.interrupted) == (8, False)
    return path


@pytest.fixture
def crashed(tmp_path, finished):
    """A copy of it whose newest checkpoint is of step 4, the first of the adversarial stage."""
    path = tmp_path / "crashed"
    shutil.copytree(finished, path)
    (path / "checkpoints" / "step-00000008.safetensors").unlink()
    return path


@pytest.fixture
def shown(monkeypatch):
    """The steps whose samples and metrics are due; making them is slow, and tested elsewhere."""
    from training_helpers import without_showing

    return without_showing(monkeypatch)


@pytest.fixture(scope="session")
def fault_server(tmp_path_factory):
    """Runs command lines to be killed, or on a disk that gets full; see `fault_helpers`."""
    from fault_helpers import Server, build_shim

    folder = tmp_path_factory.mktemp("faults")
    with Server(folder, build_shim(folder)) as serving:
        yield serving


@pytest.fixture(scope="session")
def fault_config(tmp_path_factory):
    """The file of a training's configuration of 8 steps, with images of its own."""
    from fault_helpers import short_config

    return short_config(tmp_path_factory.mktemp("short"))


@pytest.fixture(scope="session")
def undisturbed(fault_server, fault_config, tmp_path_factory):
    """The run that such a training leaves to which nothing happens, and how it ended."""
    path = tmp_path_factory.mktemp("undisturbed") / "run"
    ended = fault_server.run("train", "--config", fault_config, "--run-dir", path, below=path)
    assert ended.code == 0, ended.err
    return path, ended
