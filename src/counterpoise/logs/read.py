"""Reads a log, anybody's, as traces: one for each training run in it."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from counterpoise.errors import UserError
from counterpoise.logs.folders import EVENT_FILES, read_event_files, read_run_folder
from counterpoise.logs.formats import FORMATS
from counterpoise.logs.names import checked_mapping
from counterpoise.logs.tables import (
    begins_json,
    read_json_rows,
    read_table,
    split_cells,
    table_delimiter,
)
from counterpoise.logs.text import TextReader, clean_lines
from counterpoise.trace import COLUMNS, Trace

# Lines that are looked at to tell what a file is.
LOOK_AHEAD = 50
# A log of nothing but learning rates or gradient norms is none of a game.
TELLING = {
    name
    for name in COLUMNS
    if name.startswith(("g_loss", "g_adv", "d_loss", "d_real", "d_fake", "d_accuracy", "auc"))
    or name.endswith("logit_mean")
}
# Longer lines are read in parts, so that a file without line ends fits into memory.
MOST_BYTES = 1 << 16


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
    name = str(source)
    try:
        if source.is_dir():
            return _read_folder(source, objective, known)
        if not source.exists():
            raise UserError(f"{name}: no such file or folder; give a log file or a run folder")
        if not source.stat().st_size and source.is_file():
            raise UserError(f"{name}: empty; give a log with at least some lines")
        if ".tfevents." in source.name:
            return _some(read_event_files([source], name, objective, known), name)
        with source.open("rb") as file:
            if _is_binary(file.read(4096)):
                raise UserError(
                    f"{name}: a binary file, not a log; give a text log or a run folder"
                )
        with source.open(encoding="utf-8-sig", errors="replace") as file:
            return _some(_read_lines(file, name, objective, known), name)
    except OSError as error:
        raise UserError(
            f"{name}: cannot be read ({error.strerror or error}); give a log file or a run folder"
        ) from None


def _is_binary(start: bytes) -> bool:
    wide = start.startswith((b"\xff\xfe", b"\xfe\xff"))
    return b"\0" in start or wide


def _read_folder(folder: Path, objective: str | None, known: Mapping[str, str]) -> list[Trace]:
    name = str(folder)
    if (folder / "signals.jsonl").is_file():
        return _some(
            read_run_folder(folder, objective, known),
            name,
            "it has no step with a discriminator yet",
        )
    if (folder / "stats.jsonl").is_file():
        with (folder / "stats.jsonl").open(encoding="utf-8", errors="replace") as file:
            return _some(read_json_rows(file, name, objective, known), name)
    events = sorted(folder.rglob(EVENT_FILES))
    if events:
        return _some(read_event_files(events, name, objective, known), name)
    raise UserError(
        f"{name}: a folder without signals.jsonl, stats.jsonl or TensorBoard event files; give a "
        "run folder or a log file"
    )


def _read_lines(
    file: IO[str], source: str, objective: str | None, known: Mapping[str, str]
) -> list[Trace]:
    lines = _bounded_lines(file)
    first = list(itertools.islice(lines, LOOK_AHEAD))
    if not any(line.strip() for line in first):
        if not any(line.strip() for line in lines):
            raise UserError(f"{source}: empty; give a log with at least some lines")
        return []
    everything = itertools.chain(first, lines)
    beginning = next(line for line in first if line.strip()).lstrip("\ufeff \t")
    if begins_json(beginning):
        return read_json_rows(everything, source, objective, known)
    start = _table_start(first, known)
    if start is not None:
        row, delimiter = start
        rest = itertools.islice(everything, row, None)
        return read_table(rest, delimiter, source, objective, known)
    return TextReader(source, objective, known).read(everything)


def _table_start(first: list[str], known: Mapping[str, str]) -> tuple[int, str] | None:
    """The row of a table's header and what parts its columns, where the file is a table."""
    for row, line in enumerate(first[:-1]):
        header = next(clean_lines([line]), "").strip()
        delimiter = table_delimiter(header)
        if delimiter is None:
            continue
        below = next(clean_lines(first[row + 1 :]), "")
        cells = split_cells(below.strip(), delimiter)
        if delimiter == ";":
            cells = [cell.replace(",", ".") for cell in cells]
        if len(cells) == len(split_cells(header, delimiter)) and _numeric(cells):
            return row, delimiter
    return None


def _numeric(cells: list[str]) -> bool:
    """Whether more than half of some cells are numbers or empty, and one is a number."""
    numbers = 0
    for cell in cells:
        try:
            float(cell)
        except ValueError:
            continue
        numbers += 1
    empty = sum(not cell.strip() for cell in cells)
    return numbers >= 1 and 2 * (numbers + empty) > len(cells)


def _bounded_lines(file: IO[str]) -> Iterator[str]:
    """Lines, those without an end in parts."""
    while line := file.readline(MOST_BYTES):
        yield line


def _some(traces: Iterable[Trace], source: str, why: str = "") -> list[Trace]:
    found = [trace for trace in traces if TELLING & trace.columns.keys() or trace.non_finite]
    if not found:
        formats = ", ".join(FORMATS)
        raise UserError(
            f"{source}: "
            + (
                why
                or f"no losses or outputs of D that are known (formats: {formats}, keras, csv, "
                "jsonl, stylegan, tensorboard); name its columns, e.g. --map errD=d_loss"
            )
        )
    return found
