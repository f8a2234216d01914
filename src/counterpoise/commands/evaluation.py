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
from counterpoise.evaluate.outputs import folder_method, match_outputs
from counterpoise.evaluate.scores import (
    Method,
    Scores,
    bicubic_method,
    generator_method,
    score_methods,
    write_csv,
)
from counterpoise.metrics.functional import SSIM_WINDOW_PX
from counterpoise.models.generator import EnhanceNet
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
class Source:
    """Something to be scored: a generator, or a folder of outputs."""

    name: str
    path: Path
    generator: EnhanceNet | None = None

    def method_name(self) -> str:
        """Its name in tables."""
        if self.generator is None:
            return self.name
        return f"{self.name} ({self.generator.config.degradation} LR)"


def run(request: Request, console: Console) -> None:
    """Print a table per set; write what was asked for."""
    crop = None if request.crop is None else parse_crop(request.crop)
    if crop is not None and request.figures is None:
        raise UserError("--crop needs --figures DIR, where the crops are written")
    measures, notes = choose_measures(request.metrics)
    device = pick_device(request.device)
    sources, pair = _open_sources(request, device)
    if not sources:
        if request.compare is None:
            raise UserError("give --weights FILE, --outputs FOLDER or --compare A B")
        say_differences(console, *(_csv_scores(text) for text in request.compare))
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
        name = _free_name(set_name(folder), sets)
        catalog = catalog_folder(folder, scale, SSIM_WINDOW_PX + 2 * scale)
        for item in catalog.skipped:
            say(console, f"skipped {item.path}: {item.reason}")
        catalog, methods = _methods(
            sources, catalog, name, scale, device, console, alone=len(request.folders) == 1
        )
        sheet = CropSheet(scale, crop)
        seen = sheet.add if request.figures is not None else lambda image: None
        scores = score_methods(catalog, scale, methods, measures, seen)
        sets[name] = scores
        say_set(console, name, scores, measures, scale, request.figures, sheet)
    for note in notes:
        say(console, f"not computed: {note}")
    if pair is not None:
        say_differences(console, *(_scores_of(sets, one) for one in pair))
    if request.csv is not None:
        write_csv(request.csv, sets)
        say(console, f"per image: {request.csv}")


def set_name(folder: Path) -> str:
    """What to call a set: its folder, or the folder above one that is only called HR."""
    folder = folder.absolute()
    return folder.parent.name if folder.name.lower() == "hr" else folder.name


def _free_name(name: str, taken: dict[str, list[Scores]]) -> str:
    numbered = (f"{name}-{number}" for number in range(2, len(taken) + 3))
    return next(one for one in [name, *numbered] if one not in taken)


def _open_sources(
    request: Request, device: torch.device
) -> tuple[list[Source], tuple[Source | str, Source | str] | None]:
    """What is to be scored, and the two of `--compare`: a source, or the text of a CSV file."""
    sources: list[Source] = []

    def add(path: Path, *, is_weights: bool) -> Source:
        known = next((s for s in sources if real_path(s.path) == real_path(path)), None)
        if known is None:
            generator = open_weights(path, device).generator if is_weights else None
            known = Source(path.stem if is_weights else real_path(path).name, path, generator)
            sources.append(known)
        return known

    for path in request.weights:
        add(path, is_weights=True)
    for path in request.outputs:
        add(path, is_weights=False)
    pair: list[Source | str] = []
    for text in request.compare or ():
        if _is_csv(text):
            pair.append(text)
            continue
        path = Path(text)
        is_run = RunFolder(path).config.is_file()
        pair.append(add(path, is_weights=is_run or not path.is_dir()))
    named = _with_distinct_names(sources)
    renamed = dict(zip(sources, named, strict=True))
    if not pair:
        return named, None
    first, second = (one if isinstance(one, str) else renamed[one] for one in pair)
    if first == second:
        raise UserError(f"--compare: {request.compare[0]} is given twice")  # type: ignore[index]
    return named, (first, second)


def _with_distinct_names(sources: Sequence[Source]) -> list[Source]:
    """The sources with the folder above in their names, where the names alone are not distinct."""
    names = [source.method_name() for source in sources]
    distinct = [
        replace(source, name=f"{real_path(source.path).parent.name}/{source.name}")
        if names.count(source.method_name()) > 1
        else source
        for source in sources
    ]
    names = [source.method_name() for source in distinct]
    return [
        replace(source, name=str(source.path)) if names.count(source.method_name()) > 1 else source
        for source in distinct
    ]


def _common_scale(sources: Sequence[Source], asked: int | None) -> int:
    scales: set[int] = {s.generator.config.scale for s in sources if s.generator is not None}
    scales |= set() if asked is None else {asked}
    if len(scales) > 1:
        known = " and ".join(f"x{scale}" for scale in sorted(scales))
        raise UserError(f"{known} cannot be in one table: give weights of one scale")
    return scales.pop() if scales else DEFAULT_SCALE


def _methods(
    sources: Sequence[Source],
    catalog: Catalog,
    name: str,
    scale: int,
    device: torch.device,
    console: Console,
    *,
    alone: bool,
) -> tuple[Catalog, list[Method]]:
    """The methods of a set, bicubic first, and the images that all of them have."""
    # The field's bicubic row starts from bicubic LR, whatever the networks were trained on.
    generators = [s.generator for s in sources if s.generator is not None]
    degradations: dict[Degradation, None] = dict.fromkeys(
        ("bicubic", *(generator.config.degradation for generator in generators))
    )
    matches = {}
    for source in sources:
        if source.generator is not None:
            continue
        folder = source.path / name if (source.path / name).is_dir() else source.path
        if not alone and folder == source.path:
            raise UserError(
                f"{source.path}: with several sets, put the outputs into {folder / name}"
            )
        found = match_outputs(folder, catalog)
        for image in found.missing:
            say(console, f"{folder}: no output for {image}, which is left out for all methods")
        for path in found.left_over:
            say(console, f"{path}: is of no image of {name}, not used")
        matches[source] = found.files
    kept = [
        index
        for index, image in enumerate(catalog.names)
        if all(image in files for files in matches.values())
    ]
    if not kept:
        raise UserError(f"{name}: no image has an output in every folder")
    catalog = catalog.subset(kept, catalog.skipped)
    methods = [bicubic_method(scale, degradation) for degradation in degradations]
    for source in sources:
        generator = source.generator
        if generator is None:
            methods.append(folder_method(source.name, matches[source], catalog, "bicubic"))
        else:
            degradation = generator.config.degradation
            methods.append(generator_method(source.name, generator, degradation, device))
    return catalog, methods


def _is_csv(text: str) -> bool:
    return text.lower().endswith(CSV_SUFFIX) or f"{CSV_SUFFIX}:" in text.lower()


def _csv_scores(text: str) -> dict[str, Scores]:
    end = text.lower().find(f"{CSV_SUFFIX}:")
    if end == -1 or Path(text).is_file():
        return read_csv(Path(text))
    end += len(CSV_SUFFIX)
    return read_csv(Path(text[:end]), text[end + 1 :])


def _scores_of(sets: dict[str, list[Scores]], one: Source | str) -> dict[str, Scores]:
    """By set, the scores of a source that was scored, or of a CSV file."""
    if isinstance(one, str):
        return _csv_scores(one)
    method = one.method_name()
    return {name: next(s for s in scores if s.method == method) for name, scores in sets.items()}
