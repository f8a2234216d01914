"""Reads a log of any program as traces: one for each training run in it."""

import errno
import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO

from counterpoise.errors import UserError, one_line
from counterpoise.logs.columns import NAMES_LISTED, naming_advice
from counterpoise.logs.documents import read_document
from counterpoise.logs.folders import (
    EVENT_FILES,
    read_event_files,
    read_run_folder,
    runs_in_json_lines,
)
from counterpoise.logs.formats import FORMATS
from counterpoise.logs.json_reader import begins_document
from counterpoise.logs.lines import LineReader, bounded_lines
from counterpoise.logs.names import checked_mapping
from counterpoise.logs.opening import text_encoding
from counterpoise.logs.runs import traces_of
from counterpoise.trace import COLUMNS, Trace

# A document is read whole: one of nothing but brackets takes 25 times its size then.
DOCUMENT_CHARACTERS = 16 << 20
LOG_SUFFIXES = (".log", ".txt", ".csv", ".tsv", ".json", ".jsonl", ".ipynb")
# A log of nothing but learning rates or gradient norms is none of a game.
TELLING = {
    name
    for name in COLUMNS
    if name.startswith(("g_loss", "g_adv", "d_loss", "d_real", "d_fake", "d_accuracy", "auc"))
    or name.endswith("logit_mean")
}


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
    but for JSON documents, whose size is limited.

    Raises `UserError` where there is nothing, or nothing that is known.
    """
    known = checked_mapping(mapping)
    if not isinstance(source, Path):
        return _read_lines(source, "standard input", objective, known)
    name = one_line(str(source))
    try:
        if source.is_dir():
            return _read_folder(source, objective, known)
        if not source.exists():
            raise UserError(f"{name}: no such file or folder; give a log file or a run folder")
        if not source.stat().st_size and source.is_file():
            raise UserError(f"{name}: empty; give a log with at least some lines")
        if ".tfevents." in source.name:
            if not source.is_file():  # TensorBoard's reader would wait for a pipe for ever.
                raise OSError(errno.EINVAL, "not a regular file")
            return _some(read_event_files([source], name, objective, known), name)
        # Opened once: what was read of a pipe is gone.
        with source.open("rb") as file:
            text = io.TextIOWrapper(file, encoding=text_encoding(file, name), errors="replace")
            return _read_lines(text, name, objective, known)
    except OSError as error:
        raise UserError(
            f"{name}: cannot be read ({error.strerror or error}); give a log file or a run folder"
        ) from None


def _read_folder(folder: Path, objective: str | None, known: Mapping[str, str]) -> list[Trace]:
    name = one_line(str(folder))
    if (folder / "signals.jsonl").is_file():
        return _some(
            read_run_folder(folder, objective),
            name,
            "it has no step with a discriminator yet",
        )
    if (folder / "stats.jsonl").is_file():
        path = folder / "stats.jsonl"
        return _some(traces_of(runs_in_json_lines(path, name, objective, known)), name)
    if events := sorted(path for path in folder.rglob(EVENT_FILES) if path.is_file()):
        return _some(read_event_files(events, name, objective, known), name)
    files = islice(folder.rglob("*"), 10_000)
    logs = sorted(str(path.relative_to(folder)) for path in files if path.suffix in LOG_SUFFIXES)
    there = f"; there is {' and '.join(logs[:3])}: give one file" if logs else ""
    raise UserError(
        f"{name}: a folder without signals.jsonl, stats.jsonl or TensorBoard event files{there}"
    )


def _read_lines(
    file: IO[str], source: str, objective: str | None, known: Mapping[str, str]
) -> list[Trace]:
    what = (source, objective, known)
    lines = bounded_lines(file)
    start = list(islice((line for line in lines if line.strip()), 2))
    if not start:
        raise UserError(f"{source}: empty; give a log with at least some lines")
    document = ""
    if begins_document(start):
        document = "".join(start) + file.read(DOCUMENT_CHARACTERS)
        if len(document) < DOCUMENT_CHARACTERS and (read := read_document(document, *what)):
            return _some(traces_of(read.collectors()), source, seen=read.unknown_names)
        start = [*io.StringIO(document + file.readline())]
    # Also a configuration that is printed above a log begins like a document.
    reader = LineReader(*what)
    reader.feed(start)
    reader.feed(lines)
    reader.finish()
    traces = [trace for trace in traces_of(reader.collectors()) if tells(trace)]
    is_notebook = '"cell_type"' in document
    if len(document) >= DOCUMENT_CHARACTERS and (is_notebook or not traces):
        raise UserError(
            f"{source}: one JSON document of more than {DOCUMENT_CHARACTERS >> 20} MiB; give its "
            "numbers as JSON lines (an object to a line) or CSV"
        )
    return _some(traces, source, seen=reader.unknown_names)


def _some(
    traces: Iterable[Trace], source: str, why: str = "", seen: Sequence[str] = ()
) -> list[Trace]:
    """The traces that tell anything; `UserError` where none does, with the names that were seen."""
    found = [trace for trace in traces if tells(trace)]
    if not found:
        raise UserError(f"{source}: {why or nothing_known(seen)}")
    return found


def tells(trace: Trace) -> bool:
    """Whether a trace has anything of a game between G and D."""
    return bool(TELLING & trace.columns.keys() or trace.non_finite)


def nothing_known(seen: Sequence[str] = ()) -> str:
    """What is said of a log that tells nothing but numbers of the names in `seen`."""
    has = f"; its numbers are {', '.join(seen[:NAMES_LISTED])}" if seen else ""
    return (
        f"no losses or outputs of D that are known (formats: {', '.join(FORMATS)}, keras, csv, "
        f"jsonl, stylegan, tensorboard){has}; name its columns, e.g. {naming_advice(seen)}"
    )
