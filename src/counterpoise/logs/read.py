"""Reads a log, anybody's, as traces: one for each training run in it."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

from counterpoise.errors import UserError, one_line
from counterpoise.logs.folders import EVENT_FILES, read_event_files, read_run_folder
from counterpoise.logs.formats import FORMATS
from counterpoise.logs.lines import LineReader, bounded_lines
from counterpoise.logs.names import checked_mapping
from counterpoise.logs.runs import traces_of
from counterpoise.logs.tables import JsonReader
from counterpoise.trace import COLUMNS, Trace

# Bytes that tell a text from another file.
BINARY_LOOK_BYTES = 4096
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
    header, JSON lines or TensorBoard events; a folder one of ours, or one with event files or
    `stats.jsonl`. `mapping` gives columns (of `trace.COLUMNS`, or `step`) by the log's names,
    `objective` is written into the traces. Memory does not grow with the log.

    Raises `UserError` where there is nothing, or nothing that is known.
    """
    known = checked_mapping(mapping)
    if not isinstance(source, Path):
        return _some(_read_lines(source, "standard input", objective, known), "standard input")
    name = one_line(str(source))
    try:
        if source.is_dir():
            return _read_folder(source, objective, known)
        if not source.exists():
            raise UserError(f"{name}: no such file or folder; give a log file or a run folder")
        if not source.stat().st_size and source.is_file():
            raise UserError(f"{name}: empty; give a log with at least some lines")
        if ".tfevents." in source.name:
            return _some(read_event_files([source], name, objective, known), name)
        # Opened once: what was read of a pipe is gone.
        with source.open("rb") as file:
            refuse_binary(file.peek(BINARY_LOOK_BYTES)[:BINARY_LOOK_BYTES], name)
            text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace")
            return _some(_read_lines(text, name, objective, known), name)
    except OSError as error:
        raise UserError(
            f"{name}: cannot be read ({error.strerror or error}); give a log file or a run folder"
        ) from None


def refuse_binary(start: bytes, name: str) -> None:
    """Raise `UserError` where a file that begins like this is no text (UTF-16 counts as none)."""
    if b"\0" in start or start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{name}: a binary file, not a log; give a text log or a run folder")


def _read_folder(folder: Path, objective: str | None, known: Mapping[str, str]) -> list[Trace]:
    name = one_line(str(folder))
    if (folder / "signals.jsonl").is_file():
        return _some(
            read_run_folder(folder, objective, known),
            name,
            "it has no step with a discriminator yet",
        )
    if (folder / "stats.jsonl").is_file():
        with (folder / "stats.jsonl").open(encoding="utf-8", errors="replace") as file:
            reader = JsonReader(name, objective, known)
            reader.feed(bounded_lines(file))
        return _some(traces_of(reader.collectors()), name)
    events = sorted(path for path in folder.rglob(EVENT_FILES) if path.is_file())
    if events:
        return _some(read_event_files(events, name, objective, known), name)
    raise UserError(
        f"{name}: a folder without signals.jsonl, stats.jsonl or TensorBoard event files; give a "
        "run folder or a log file"
    )


def _read_lines(
    file: IO[str], source: str, objective: str | None, known: Mapping[str, str]
) -> list[Trace]:
    reader = LineReader(source, objective, known)
    reader.feed(bounded_lines(file))
    reader.finish()
    if reader.is_empty:
        raise UserError(f"{source}: empty; give a log with at least some lines")
    return traces_of(reader.collectors())


def _some(traces: Iterable[Trace], source: str, why: str = "") -> list[Trace]:
    found = [trace for trace in traces if tells(trace)]
    if not found:
        raise UserError(f"{source}: {why or nothing_known()}")
    return found


def tells(trace: Trace) -> bool:
    """Whether a trace has anything of a game between G and D."""
    return bool(TELLING & trace.columns.keys() or trace.non_finite)


def nothing_known() -> str:
    """What is said of a log that tells nothing."""
    return (
        f"no losses or outputs of D that are known (formats: {', '.join(FORMATS)}, keras, csv, "
        "jsonl, stylegan, tensorboard); name its columns, e.g. --map errD=d_loss"
    )
