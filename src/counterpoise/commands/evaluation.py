"""`evaluate` behind the command line."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console

from counterpoise.commands.console import say
from counterpoise.commands.evaluation_tables import say_differences, say_set
from counterpoise.commands.weights import open_weights, pick_device
from counterpoise.data.catalog import Catalog, catalog_folder
from counterpoise.data.images import real_path
from counterpoise.data.resize import Degradation
from counterpoise.errors import UserError
from counterpoise.evaluate.comparison import read_csv
from counterpoise.evaluate.crops import CropSheet, parse_crop
from counterpoise.evaluate.measures import choose_measures
from counterpoise.evaluate.outputs import by_files, match_outputs
from counterpoise.evaluate.scores import (
    Method,
    Scores,
    by_bicubic,
    by_generator,
    score_methods,
    write_csv,
)
from counterpoise.metrics.functional import SSIM_WINDOW_PX
from counterpoise.models.generator import Generator
from counterpoise.run_folder import RunFolder

DEFAULT_SCALE = 4
CSV_SUFFIX = ".csv"


@dataclass(frozen=True)
class Request:
    """What `evaluate` was asked for."""

    folders: Sequence[Path] = ()  # of HR images, one per set
    weights: Sequence[Path] = ()
    outputs: Sequence[Path] = ()
    metrics: str | None = None
    csv: Path | None = None
    figures: Path | None = None
    crop: str | None = None
    # Weights, folders of outputs, or per-image CSV files (FILE.csv or FILE.csv:METHOD).
    compare: tuple[str, str] | None = None
    scale: int | None = None  # of outputs where there are no weights to know it from
    device: str = "auto"


@dataclass(frozen=True)
class MethodSource:
    """Something to be scored: a generator, or a folder of outputs."""

    name: str
    path: Path
    generator: Generator | None = None

    @property
    def degradation(self) -> Degradation:
        """How the LR images are made that it begins with."""
        return "bicubic" if self.generator is None else self.generator.config.degradation

    @property
    def method_name(self) -> str:
        """Its name in tables."""
        return self.name if self.generator is None else f"{self.name} ({self.degradation} LR)"


def run(request: Request, console: Console) -> None:
    """Print a table per set; write what was asked for."""
    crop = None if request.crop is None else parse_crop(request.crop)
    if crop is not None and request.figures is None:
        raise UserError("--crop needs --figures DIR, where the crops are written")
    measures, notes = choose_measures(request.metrics)
    device = pick_device(request.device)
    sources, pair = _open_sources(request, device)
    if not sources:
        if not pair:
            raise UserError("give --weights FILE, --outputs FOLDER or --compare A B")
        say_differences(console, *(_scores_of({}, one) for one in pair))
        return
    if not request.folders:
        raise UserError("give --data FOLDER, the HR images to compare with")
    for folder in request.folders:
        if RunFolder(folder).config.is_file() or folder.suffix == ".safetensors":
            raise UserError(
                f"{folder}: weights, where HR images are wanted; give --weights once for each"
            )
    scale = _common_scale(sources, request.scale)
    sets: dict[str, list[Scores]] = {}
    for folder in request.folders:
        names = [set_name(folder)] + [f"{set_name(folder)}-{n}" for n in range(2, len(sets) + 2)]
        name = next(one for one in names if one not in sets)
        catalog = catalog_folder(folder, scale, SSIM_WINDOW_PX + 2 * scale)
        for item in catalog.skipped:
            say(console, f"skipped {item.path}: {item.reason}")
        own_folders = len(request.folders) > 1
        catalog, files = _match_outputs(sources, catalog, name, own_folders, console)
        methods = _methods(sources, catalog, files, device)
        sheet = CropSheet(scale, crop)
        seen = sheet.add if request.figures is not None else lambda image: None
        sets[name] = score_methods(catalog, scale, methods, measures, seen)
        say_set(console, name, sets[name], measures, scale, request.figures, sheet)
    for note in notes:
        say(console, f"not computed: {note}")
    if pair:
        say_differences(console, *(_scores_of(sets, one) for one in pair))
    if request.csv is not None:
        write_csv(request.csv, sets)
        say(console, f"per image: {request.csv}")


def set_name(folder: Path) -> str:
    """What to call a set: its folder, or the folder above one that is only called HR."""
    folder = folder.absolute()
    return folder.parent.name if folder.name.lower() == "hr" else folder.name


def _open_sources(
    request: Request, device: torch.device
) -> tuple[list[MethodSource], list[MethodSource | str]]:
    """What is to be scored, and the two of `--compare`: a source, or the text of a CSV file."""
    asked = [(path, True) for path in request.weights]
    asked += [(path, False) for path in request.outputs]
    for text in request.compare or ():
        if not _is_csv(text):
            path = Path(text)
            asked.append((path, RunFolder(path).config.is_file() or not path.is_dir()))
    sources: dict[Path, MethodSource] = {}
    for path, is_weights in asked:
        if real_path(path) not in sources:
            generator = open_weights(path, device).generator if is_weights else None
            name = path.stem if is_weights else real_path(path).name
            sources[real_path(path)] = MethodSource(name, path, generator)
    # Where names are not distinct, with the folder above; where that does not help, the path.
    for in_full in (False, True):
        names = [source.method_name for source in sources.values()]
        for place, source in sources.items():
            if names.count(source.method_name) > 1:
                name = str(source.path) if in_full else f"{place.parent.name}/{source.name}"
                sources[place] = replace(source, name=name)
    pair: list[MethodSource | str] = []
    for text in request.compare or ():
        pair.append(text if _is_csv(text) else sources[real_path(Path(text))])
    if len(pair) == 2 and pair[0] == pair[1]:
        raise UserError(f"--compare: {text} is given twice")
    return list(sources.values()), pair


def _common_scale(sources: Sequence[MethodSource], asked: int | None) -> int:
    scales: set[int] = {s.generator.config.scale for s in sources if s.generator is not None}
    scales |= set() if asked is None else {asked}
    if len(scales) > 1:
        known = " and ".join(f"x{scale}" for scale in sorted(scales))
        raise UserError(f"{known} cannot be in one table: give weights of one scale")
    return scales.pop() if scales else DEFAULT_SCALE


def _match_outputs(
    sources: Sequence[MethodSource],
    catalog: Catalog,
    name: str,
    own_folders: bool,
    console: Console,
) -> tuple[Catalog, dict[Path, dict[str, Path]]]:
    """The images of a set that every folder of outputs has, and each folder's files by image.

    With `own_folders`, each set's outputs are in a folder of the set's name.
    """
    files = {}
    for source in sources:
        if source.generator is not None:
            continue
        folder = source.path / name
        if not folder.is_dir():
            if own_folders:
                raise UserError(f"{source.path}: with several sets, put the outputs into {folder}")
            folder = source.path
        found = match_outputs(folder, catalog)
        for image in found.missing:
            say(console, f"{folder}: no output for {image}, which is left out for all methods")
        for path in found.left_over:
            say(console, f"{path}: is of no image of {name}, not used")
        files[source.path] = found.files
    kept = [n for n, image in enumerate(catalog.names) if all(image in f for f in files.values())]
    if not kept:
        raise UserError(f"{name}: no image has an output in every folder")
    return catalog.subset(kept, catalog.skipped), files


def _methods(
    sources: Sequence[MethodSource],
    catalog: Catalog,
    files: dict[Path, dict[str, Path]],
    device: torch.device,
) -> list[Method]:
    """The methods of a set, bicubic first."""
    # The field's bicubic row starts from bicubic LR, whatever the networks were trained on.
    kinds: list[Degradation] = ["bicubic", *(source.degradation for source in sources)]
    methods = [
        Method(f"bicubic ({kind} LR)", kind, by_bicubic(catalog.scale))
        for kind in dict.fromkeys(kinds)
    ]
    for source in sources:
        if source.generator is None:
            upscale = by_files(files[source.path], catalog)
        else:
            upscale = by_generator(source.generator, device)
        methods.append(Method(source.method_name, source.degradation, upscale))
    return methods


def _is_csv(text: str) -> bool:
    return text.lower().endswith(CSV_SUFFIX) or f"{CSV_SUFFIX}:" in text.lower()


def _scores_of(sets: dict[str, list[Scores]], one: MethodSource | str) -> dict[str, Scores]:
    """By set, the scores of a source that was scored, or of a CSV file."""
    if isinstance(one, MethodSource):
        method = one.method_name
        return {name: next(s for s in of if s.method == method) for name, of in sets.items()}
    end = one.lower().find(f"{CSV_SUFFIX}:")
    if end == -1 or Path(one).is_file():
        return read_csv(Path(one))
    end += len(CSV_SUFFIX)
    return read_csv(Path(one[:end]), one[end + 1 :])
