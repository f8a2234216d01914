"""Reads a log of any program as traces: one for each training run in it."""

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

from counterpoise.errors import UserError, one_line
from counterpoise.logs.folders import EventFile, logs_in, read_run_folder
from counterpoise.logs.json_reader import JsonReader, begins_document
from counterpoise.logs.lines import LineReader, html_rows, text_encoding
from counterpoise.logs.names import checked_mapping, may_be_loss
from counterpoise.logs.runs import FormatReader
from counterpoise.trace import COLUMNS, Trace

# Longer lines are read in parts, so that a file without line ends fits into memory.
CHARACTERS_AT_ONCE = 1 << 16
NAMES_LISTED = 8  # in a refusal
# A log of nothing but learning rates or gradient norms is none of a game.
TELLING = {
    name
    for name in COLUMNS
    if name.startswith(("g_loss", "g_adv", "d_loss", "d_real", "d_fake", "d_accuracy", "auc"))
    or name.endswith("logit_mean")
}
# What rows are called that are named by their place.
_STEP = re.compile(r"(?:step|iter(?:ation)?|epoch)?[ _-]?(\d{1,15})", re.IGNORECASE)
# Traces, the names of numbers that are none of theirs, and where else to look.
Found = tuple[list[Trace], Sequence[str], str]


def read_log(
    source: Path | IO[str],
    *,
    mapping: Mapping[str, str] | None = None,
    objective: str | None = None,
) -> list[Trace]:
    """The training runs in a log file, a run folder or a stream of text.

    A file may be a log of any of `formats.FORMATS`, `name: value` lines, CSV, TSV, columns under a
    header, JSON lines, a JSON document, a notebook or TensorBoard events; a folder one of ours, or
    one with event files or `stats.jsonl`. `mapping` gives columns (of `trace.COLUMNS`, or `step`)
    by the log's names, `objective` is written into the traces. Memory does not grow with the log,
    but for what is, or begins like, one JSON document.

    Raises `UserError` where there is nothing, or nothing that is known.
    """
    known = checked_mapping(mapping)
    name = one_line(str(source)) if isinstance(source, Path) else "standard input"
    try:
        if isinstance(source, Path):
            traces, seen, advice = _read_path(source, known)
        else:
            traces, seen, advice = _read_lines(source, known)
    except OSError as error:
        raise UserError(
            f"{name}: cannot be read ({error.strerror or error}); give a log file or a run folder"
        ) from None
    except UserError as error:
        text = str(error)
        raise UserError(text if text.startswith(name) else f"{name}: {text}") from None
    found = [
        replace(trace, source=name, objective=objective or trace.objective)
        for trace in traces
        if tells(trace)
    ]
    if not found:
        raise UserError(f"{name}: {nothing_known(seen, advice)}")
    return [_with_unused(trace, seen) for trace in found]


def _with_unused(trace: Trace, seen: Sequence[str]) -> Trace:
    """A trace that has nothing of D, with a note of the numbers that D's may be among."""
    if not seen or any(name in TELLING and not name.startswith("g_") for name in trace.columns):
        return trace
    note = f"numbers that are not used: {', '.join(seen[:NAMES_LISTED])}; name D's, e.g. --map "
    return replace(trace, notes=(*trace.notes, f"{note}'{seen[0]}=d_loss'"))


def _read_path(path: Path, known: Mapping[str, str]) -> Found:
    if path.is_dir() and (path / "signals.jsonl").is_file():
        return read_run_folder(path), (), ""
    if path.is_dir():
        found = [_read_path(log, known) for log in logs_in(path)]
        return [trace for each in found for trace in each[0]], *found[-1][1:]
    if not path.exists():
        raise UserError("no such file or folder; give a log file or a run folder")
    if path.name == "signals.jsonl":
        return read_run_folder(path.parent), (), ""
    if ".tfevents." in path.name:
        return EventFile(path, known).traces(), (), ""
    # Opened once: what was read of a pipe is gone.
    with path.open("rb") as file:
        encoding = text_encoding(file, one_line(str(path)))
        text = io.TextIOWrapper(file, encoding=encoding, errors="replace")
        return _read_lines(text, known)


def _read_lines(file: IO[str], known: Mapping[str, str]) -> Found:
    lines = iter(partial(file.readline, CHARACTERS_AT_ONCE), "")
    first = list(islice((line for line in lines if line.strip()), 2))
    if not first:
        raise UserError("empty; give a log with at least some lines")
    start: Iterable[str] = first
    reader: FormatReader | None = None
    if begins_document(first):
        document = "".join(first) + file.read()
        reader = read_document(document, known)
        # Also a configuration that is printed above a log begins like a document.
        start = io.StringIO(document)
    if reader is None:
        reader = LineReader(known)
        reader.feed(start)
        reader.feed(lines)
        reader.finish()
    return reader.traces(), reader.unknown_names, reader.advice


def read_document(text: str, mapping: Mapping[str, str]) -> FormatReader | None:
    """A reader that has read a JSON document; None for a text that is none, or has no rows."""
    try:
        document = json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return None
    if isinstance(document, dict) and "nbformat" in document:
        printed = LineReader(mapping)
        printed.feed(_printed(document))
        printed.finish()
        return printed
    reader = JsonReader(mapping)
    # An object is rows itself (a history) before a list in it is (`log_history`).
    for rows in _rows(document):
        for row in rows:
            reader.read_row(row)
        if any(collector.last_step is not None for collector in reader.collectors()):
            return reader
    return None


def _rows(document: Any) -> Iterator[list[dict[str, Any]]]:
    """What the rows of a document may be, likeliest first: its items, objects that are named by
    their step, the document itself, the longest list of objects in it."""
    if not isinstance(document, dict):
        yield _dicts(document)
        return
    places = [_STEP.fullmatch(name) for name in document]
    if len(places) > 1 and all(places) and all(isinstance(v, dict) for v in document.values()):
        rows = zip(places, document.values(), strict=True)
        yield [{"step": int(place[1]), **row} for place, row in rows if place]
    yield [document]
    yield max((_dicts(value) for value in document.values()), key=len, default=[])


def _printed(notebook: Mapping[str, Any]) -> Iterator[str]:
    """The lines that a notebook's cells printed, also as their results."""
    for cell in _dicts(notebook.get("cells")):
        for output in _dicts(cell.get("outputs")):
            data = output.get("data")
            kinds = ("text/plain", "text/html") if isinstance(data, dict) else ("text",)
            texts = [_joined((data if isinstance(data, dict) else output).get(k)) for k in kinds]
            # An object that is drawn by HTML alone says its name, "<...>", as plain text.
            lines = texts[-1 if texts[0].startswith("<") else 0].split("\n")
            # Each output ends its last line, or the next one would go on with it.
            yield from html_rows((f"{line}\n" for line in lines if line), [])


def _joined(parts: Any) -> str:
    parts = parts if isinstance(parts, list) else [parts]
    return "".join(part for part in parts if isinstance(part, str))


def _dicts(items: Any) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def tells(trace: Trace) -> bool:
    """Whether a trace has anything of a game between G and D."""
    return bool(TELLING & trace.columns.keys() or trace.non_finite)


def nothing_known(seen: Sequence[str] = (), advice: str = "") -> str:
    """What is said of a log that tells nothing but numbers of the names in `seen`, and of which
    `advice` says where its losses are."""
    if advice:
        return f"no losses in it; {advice}"
    shown = sorted(seen, key=may_be_loss, reverse=True)[:NAMES_LISTED]
    numbers = f"; its numbers are {', '.join(shown)}" if shown else ""
    is_loss = bool(shown) and may_be_loss(shown[0])
    name_it = f"name D's and G's, e.g. --map '{shown[0]}=d_loss', or " if is_loss else ""
    return (
        f"no losses or outputs of D that are known{numbers}; {name_it}give lines like these two: "
        "`step: 1 d_loss: 0.69 g_loss: 0.71`, `step: 2 d_loss: 0.68 g_loss: 0.73`"
    )
