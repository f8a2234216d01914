"""Reads a log of any program as traces: one for each training run in it."""

import contextlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, dropwhile, islice, pairwise
from pathlib import Path
from typing import IO, Any

from counterpoise.errors import UserError, one_line
from counterpoise.logs.columns import WALL_TIME, NamedRows
from counterpoise.logs.json_reader import JsonReader, begins_document, begins_json, text_in
from counterpoise.logs.names import checked_mapping, column_of, likeness, plain
from counterpoise.logs.runs import FormatReader, Position
from counterpoise.logs.tables import TableReader, table_start
from counterpoise.logs.text import TextReader
from counterpoise.run_folder import RunFolder
from counterpoise.run_rows import RunReader
from counterpoise.trace import D_COLUMNS, GAME_COLUMNS, Trace

EVENT_FILES = "events.out.tfevents*"
TENSORBOARD = "tensorboard"
LOOK_BYTES = 4096  # bytes that tell a text from another file
# A cell of a table in HTML, or the end of its row; what belongs to such a table.
_CELL = re.compile(r"<t[hd]\b[^>]*>([^<]*)</t[hd]>|(</tr>)", re.IGNORECASE)
_TAG = re.compile(r"</?t(?:able|r|h|d|head|body)\b", re.IGNORECASE)
# A column that is printed as one line: "losses_d [0.7, 0.6, 0.65]".
_LISTED = re.compile(r"\W*(?P<name>[A-Za-z]\w*)\W*\[(?P<numbers>[^][,]+(?:,[^][,]+){2,})\]\s*")
LOOK_AHEAD = 50  # lines that are looked at to tell what a file is
# Longer lines are read in parts, so that a file without line ends fits into memory.
CHARACTERS_AT_ONCE = 1 << 16
NAMES_LISTED = 8  # in a refusal
# What rows are called that are named by their place.
_STEP = re.compile(r"(?:step|iter(?:ation)?|epoch)?[ _-]?(\d{1,15})", re.IGNORECASE)


def read_log(
    source: Path | IO[str],
    *,
    mapping: Mapping[str, str] | None = None,
    objective: str | None = None,
    growing: bool = False,
) -> list[Trace]:
    """The training runs in a log file, a run folder or a stream of text.

    A file may be a log of any of `formats.FORMATS`, `name: value` lines, CSV, TSV, columns under a
    header, JSON lines, a JSON document, a notebook or TensorBoard events; a folder one of ours, or
    one with event files or `stats.jsonl`. `mapping` gives columns (of `trace.COLUMNS`, or `step`)
    by the log's names, `objective` is written into the traces. Of a file that is `growing` a last
    line without an end is left out: it is torn. Memory does not grow with the log, but for what is,
    or begins like, one JSON document.

    Raises `UserError` where there is nothing, or nothing that is known.
    """
    known = checked_mapping(mapping)
    name = one_line(str(source)) if isinstance(source, Path) else "standard input"
    readers: list[FormatReader] = []
    try:
        signals = "signals.jsonl", "signals.jsonl.gz"
        if isinstance(source, Path) and any((source / name).is_file() for name in signals):
            found = read_run_folder(source)
        elif isinstance(source, Path) and source.name == "signals.jsonl" and source.is_file():
            found = read_run_folder(source.parent)
        else:
            readers = _read(source, known, growing=growing)
            found = [_with_unused(trace, reader) for reader in readers for trace in reader.traces()]
    except OSError as error:
        raise UserError(
            f"{name}: cannot be read ({error.strerror or error}); give a log file or a run folder"
        ) from None
    except UserError as error:
        text = str(error)
        raise UserError(text if text.startswith(name) else f"{name}: {text}") from None
    told = [
        replace(trace, source=name, objective=objective or trace.objective)
        for trace in found
        if tells(trace)
    ]
    if not told:
        seen = dict.fromkeys(chain.from_iterable(reader.unknown_names for reader in readers))
        advice = next((reader.advice for reader in readers if reader.advice), "")
        raise UserError(f"{name}: {nothing_known([*seen], advice)}")
    return told


def _with_unused(trace: Trace, reader: FormatReader) -> Trace:
    """A trace that has nothing of D, or no loss of G, with a note of what these may be among."""
    if reader.advice and not any(name.startswith(("g_", "d_")) for name in trace.columns):
        return replace(trace, notes=(*trace.notes, reader.advice))
    looks = {name: likeness(name) for name in reader.unknown_names}
    has_d = bool(D_COLUMNS & trace.columns.keys())
    other = "d_loss" if has_d else "g_loss"
    losses = [name for name, of in looks.items() if of.is_of_game and of.column != other]
    if not losses or (has_d and {"g_loss", "g_adversarial"} & trace.columns.keys()):
        return trace
    listed = ", ".join(losses[:NAMES_LISTED])
    note = f"numbers that are not used: {listed}; name them, e.g. {map_example(losses)}"
    return replace(trace, notes=(*trace.notes, note))


def map_example(names: Sequence[str]) -> str:
    """How a name is given to `--map`: D's loss of these, else G's, else the form alone."""
    likely = sorted(((name, likeness(name).column) for name in names), key=lambda pair: pair[1])
    found = next((f"{name}={column}" for name, column in likely if column), "NAME_OF_D_LOSS=d_loss")
    return f"--map '{found}'"


def _read(
    source: Path | IO[str], known: Mapping[str, str], *, growing: bool = False
) -> list[FormatReader]:
    """Readers that have read a file, those of a folder, or a stream."""
    if not isinstance(source, Path):
        return [_read_lines(source, known)]
    if source.is_dir():
        return [reader for log in logs_in(source) for reader in _read(log, known)]
    if not source.exists():
        raise UserError("no such file or folder; give a log file or a run folder")
    if is_event_file(source):
        return [read_event_file(source, known)]
    # TensorBoard's exports name their one curve by the file: run-1-tag-loss_D.csv.
    if (curve := column_of(plain(source.stem.rpartition("tag-")[2]), {})) in GAME_COLUMNS:
        known = {"value": curve, **known}
    # Opened once: what was read of a pipe is gone.
    with source.open("rb") as file:
        encoding = text_encoding(file, one_line(str(source)))
        text = io.TextIOWrapper(file, encoding=encoding, errors="replace")
        return [_read_lines(text, known, growing=growing)]


def logs_in(folder: Path) -> list[Path]:
    """Logs in a folder of another program: StyleGAN's, or TensorBoard's event files; `UserError`
    where there are none."""
    stats = folder / "stats.jsonl"
    if stats.is_file():
        return [stats]
    if events := sorted(path for path in folder.rglob(EVENT_FILES) if path.is_file()):
        return events
    raise UserError(
        f"{folder}: a folder without signals.jsonl, stats.jsonl or TensorBoard event files; "
        "give a run folder or a log file"
    )


def read_run_folder(folder: Path) -> list[Trace]:
    """A run folder of ours: `signals.jsonl`, and what `config.yaml` says of it; a trace for each
    discriminator. Raises `UserError` where no step has one yet."""
    reader = RunReader(RunFolder(folder)).read_whole()
    if not reader.signals.has_d:
        raise UserError(f"{folder}: it has no step with a discriminator yet")
    return [replace(trace, notes=tuple(reader.signals.notes())) for trace in reader.traces()]


def is_event_file(path: Path) -> bool:
    """Whether a file is one of TensorBoard's, by its name."""
    return ".tfevents." in path.name


def read_event_file(path: Path, mapping: Mapping[str, str]) -> NamedRows:
    """A reader that has read the scalars of a TensorBoard event file, one training run."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util import tensor_util

    loader: Any = EventFileLoader
    to_array: Any = tensor_util.make_ndarray
    reader = NamedRows(mapping, TENSORBOARD)
    # By step: values of a step come one by one, in any order of steps.
    rows: dict[int, dict[str, float]] = {}
    for event in loader(str(path)).Load():
        for value in event.summary.value:
            # A picture, a text, or what is damaged is no number.
            with contextlib.suppress(TypeError, ValueError):
                rows.setdefault(event.step, {})[value.tag] = float(to_array(value.tensor).item())
    for step in sorted(rows):
        reader.add(rows[step], Position(step))
    return reader


def _read_lines(file: IO[str], known: Mapping[str, str], *, growing: bool = False) -> FormatReader:
    lines: Iterator[str] = iter(partial(file.readline, CHARACTERS_AT_ONCE), "")
    if growing:
        lines = (line for line, more in pairwise(chain(lines, [""])) if more or line[-1] == "\n")
    first = list(islice((line for line in lines if line.strip()), 2))
    if not first:
        raise UserError("empty; give a log with at least some lines")
    if not begins_document(first):
        return read_lines(chain(first, lines), known)
    document = "".join([*first, *lines])
    # Also a configuration that is printed above a log begins like a document.
    return read_document(document, known) or read_lines(io.StringIO(document), known)


def text_encoding(file: IO[bytes], name: str) -> str:
    """The encoding of a text file that is open at its beginning, by its first bytes, which are left
    in it: UTF-8, or UTF-16 where its mark says so, as Windows' PowerShell writes it. Raises
    `UserError` for what is no text."""
    start = file.peek(LOOK_BYTES)[:LOOK_BYTES] if isinstance(file, io.BufferedReader) else b""
    encoding = "utf-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    is_gzip = start.startswith(b"\x1f\x8b")
    if is_gzip or (b"\0" in start and encoding != "utf-16"):
        what = "compressed: gunzip it" if is_gzip else "a binary file, not a log"
        raise UserError(f"{name}: {what}; give a text log or a run folder")
    return encoding


def html_rows(lines: Iterable[str]) -> Iterator[str]:
    """Lines, and each row of HTML's tables as one, with "|" between its cells."""
    cells: list[str] = []
    for line in lines:
        if _TAG.search(line) is None:
            yield line
        for cell, end in _CELL.findall(line):
            if not end:
                cells.append(cell.strip())
            elif cells:
                yield "|".join(cells) + "\n"
                cells.clear()


def read_lines(lines: Iterable[str], mapping: Mapping[str, str]) -> FormatReader:
    """A reader for what the first lines show, which has read all; each line has its end but for a
    last one, which may be torn. Memory does not grow with them."""
    # Blank lines before the first tell nothing.
    rest: Iterator[str] = dropwhile(lambda line: not line.strip(), lines)
    first = list(islice(rest, LOOK_AHEAD))
    if any(map(_TAG.search, first)):
        rest = html_rows(chain(first, rest))
        first = list(islice(rest, LOOK_AHEAD))
    lists = [listed for line in first if (listed := _LISTED.fullmatch(line))]
    known = GAME_COLUMNS & {column_of(plain(each["name"]), mapping) for each in lists}
    if known and 2 * len(lists) >= len(first):
        columns = JsonReader(mapping)
        columns.collector.format = "columns"
        columns.read_row({each["name"]: each["numbers"].split(",") for each in lists})
        return columns
    reader: FormatReader = TextReader(mapping)
    is_json = [begins_json(line.lstrip("\ufeff \t")) for line in first]
    if not first or begins_document(first):
        pass  # Of a document that is not whole, a line says what it can by itself.
    elif is_json[0] or 2 * sum(is_json) > len(first):
        objects, texts = JsonReader(mapping), [text_in(line) for line in first]
        objects.feed(first)
        if texts == first or any(map(tells, objects.traces())):
            reader = JsonReader(mapping)
        else:
            first, rest = texts, map(text_in, rest)
    elif (start := table_start(first, mapping)) is not None:
        row, delimiter = start
        first = first[row:]
        reader = TableReader(delimiter, mapping)
    reader.feed(chain(first, rest))
    return reader


def read_document(text: str, mapping: Mapping[str, str]) -> FormatReader | None:
    """A reader that has read a JSON document; None for a text that is none, or has no rows."""
    try:
        document = json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return None
    if isinstance(document, dict) and "nbformat" in document:
        return read_lines(_printed(document), mapping)
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
        if isinstance(document, list) and all(isinstance(row, list) for row in document):
            yield [dict(zip((WALL_TIME, "step", "value"), row, strict=False)) for row in document]
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
            yield from html_rows(f"{line}\n" for line in lines if line)


def _joined(parts: Any) -> str:
    parts = parts if isinstance(parts, list) else [parts]
    return "".join(part for part in parts if isinstance(part, str))


def _dicts(items: Any) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def tells(trace: Trace) -> bool:
    """Whether a trace has anything of a game between G and D."""
    return bool((GAME_COLUMNS | {"held_out_fid"}) & trace.columns.keys() or trace.non_finite)


def nothing_known(seen: Sequence[str] = (), advice: str = "") -> str:
    """What is said of a log that tells nothing but numbers of the names in `seen`, and of which
    `advice` says where its losses are."""
    if advice:
        return f"no losses of a GAN in it; {advice}"
    # A table without a header has numbers for names.
    named = [name for name in seen if name[:1].isalpha()]
    shown = sorted(named, key=lambda name: not likeness(name).is_of_game)[:NAMES_LISTED]
    numbers = f"; its numbers are {', '.join(shown)}" if shown else ""
    losses = [name for name in shown if likeness(name).is_of_game]
    name_it = f"name D's and G's, e.g. {map_example(losses)}, or " if losses else ""
    return (
        f"no losses or outputs of D that are known{numbers}; {name_it}give a table with a line of "
        "names above it, or lines like these two: `step: 1 d_loss: 0.69 g_loss: 0.71`, "
        "`step: 2 d_loss: 0.68 g_loss: 0.73`"
    )
