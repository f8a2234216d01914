"""Logs that are folders: runs of ours, TensorBoard's event files, StyleGAN's output."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from counterpoise.logs.names import column_of, plain
from counterpoise.logs.runs import Position, RunCollector
from counterpoise.logs.tables import read_json_rows
from counterpoise.trace import Trace

EVENT_FILES = "events.out.tfevents*"
TENSORBOARD = "tensorboard"


def read_run_folder(folder: Path, objective: str | None, mapping: Mapping[str, str]) -> list[Trace]:
    """A run folder of ours: `signals.jsonl`, and what `config.yaml` says of it."""
    config = _mapping(folder / "config.yaml")
    loss, balance = config.get("loss"), config.get("balance")
    adversarial = loss.get("adversarial") if isinstance(loss, dict) else None
    if objective is None and isinstance(adversarial, dict):
        form = adversarial.get("form")
        objective = form if isinstance(form, str) else None
    with (folder / "signals.jsonl").open(encoding="utf-8", errors="replace") as file:
        traces = read_json_rows(file, str(folder), objective, mapping)
    policy = balance.get("policy") if isinstance(balance, dict) else None
    return [_with_policy(trace, policy) for trace in traces]


def _with_policy(trace: Trace, policy: Any) -> Trace:
    known = policy if isinstance(policy, str) else None
    return dataclasses.replace(trace, policy=known, format="run folder")


def _mapping(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return tree if isinstance(tree, dict) else {}


def read_event_files(
    paths: list[Path], source: str, objective: str | None, mapping: Mapping[str, str]
) -> list[Trace]:
    """The scalars of TensorBoard event files, one training run each."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    traces = []
    for path in paths:
        rows: dict[int, dict[str, float]] = {}
        loader: Any = EventFileLoader
        for event in loader(str(path)).Load():
            for value in event.summary.value:
                number = _scalar(value)
                column = _event_column(value.tag, mapping)
                if number is not None and column is not None:
                    rows.setdefault(event.step, {})[column] = number
        collector = RunCollector(source, TENSORBOARD, objective)
        for step in sorted(rows):
            collector.add(Position(step=step), rows[step])
        traces += collector.traces()
    return traces


def _event_column(tag: str, mapping: Mapping[str, str]) -> str | None:
    name = plain(tag)
    if name in ("g_terms_adversarial", "losses_l_g_gan"):
        return "g_adversarial"
    for tail in (name, name.partition("_")[2]):
        if tail and (column := column_of(tail, mapping)) is not None:
            return column
    return None


def _scalar(value: Any) -> float | None:
    if value.HasField("simple_value"):
        return float(value.simple_value)
    if value.HasField("tensor") and value.tensor.dtype in (1, 2):  # float32, float64
        from tensorboard.util.tensor_util import make_ndarray

        array: Any = make_ndarray(value.tensor)  # type: ignore[no-untyped-call]
        return float(array) if array.ndim == 0 else None
    return None
