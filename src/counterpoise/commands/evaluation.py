"""`evaluate` behind the command line."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console

from counterpoise.commands.console import print_metrics, print_table, say
from counterpoise.commands.upscaling import pick_device
from counterpoise.data.catalog import Catalog, catalog_folder
from counterpoise.data.images import real_path
from counterpoise.data.resize import Degradation
from counterpoise.errors import UserError
from counterpoise.evaluate.crops import CropSheet
from counterpoise.evaluate.measures import Measure, choose_measures
from counterpoise.evaluate.outputs import by_files, match_outputs
from counterpoise.evaluate.scores import (
    FEW_IMAGES,
    Method,
    Scores,
    by_bicubic,
    by_generator,
    differences_between,
    score_methods,
    write_csv,
)
from counterpoise.metrics.functional import SSIM_WINDOW_PX
from counterpoise.models.generator import Generator
from counterpoise.models.weights import load_generator
from counterpoise.run_folder import RunFolder

DEFAULT_SCALE = 4
DIFFERENCE_COLUMNS = ("metric", "A", "B", "B - A", "95 % interval", "B better in", "verdict")


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


def run(
    sets: Sequence[Path],
    data: Sequence[Path],
    weights: Sequence[Path],
    outputs: Sequence[Path],
    metrics: str | None,
    csv: Path | None,
    figures: Path | None,
    compare: tuple[Path, Path] | None,
    scale: int | None,
    device: str,
) -> None:
    """Print a table per set (a folder of HR images); write what was asked for.

    The two of `compare` are weights or folders of outputs. `scale` is of outputs where there are no
    weights to know it from.
    """
    console, folders = Console(), [*data, *sets]
    measures, notes = choose_measures(metrics)
    chosen = pick_device(device)
    pair = [real_path(path) for path in compare or ()]
    if len(set(pair)) == 1:
        raise UserError(f"--compare: {pair[0]} is given twice")
    sources = _open_sources(weights, outputs, pair, chosen)
    if not sources:
        raise UserError("give --weights FILE, --outputs FOLDER or --compare A B")
    if not folders:
        raise UserError("give --data FOLDER, the HR images to compare with")
    for folder in folders:
        if RunFolder(folder).config.is_file() or folder.suffix == ".safetensors":
            raise UserError(
                f"{folder}: weights, where HR images are wanted; give --weights once for each"
            )
    scored = list(sources.values())
    common_scale = _common_scale(scored, scale)
    found: dict[str, list[Scores]] = {}
    for folder in folders:
        names = [set_name(folder)] + [f"{set_name(folder)}-{n}" for n in range(2, len(found) + 2)]
        name = next(one for one in names if one not in found)
        catalog = catalog_folder(folder, common_scale, SSIM_WINDOW_PX + 2 * common_scale)
        for item in catalog.skipped:
            say(console, f"skipped {item.path}: {item.reason}")
        catalog, methods = _methods(scored, catalog, name, len(folders) > 1, chosen, console)
        sheet = CropSheet(common_scale)
        seen = sheet.add if figures is not None else lambda image: None
        found[name] = score_methods(catalog, methods, measures, seen)
        _say_set(console, name, found[name], measures, common_scale)
        if figures is not None:
            path = figures / f"crops-{name}.png"
            sheet.save(path)
            say(console, f"crops: {path}")
    for note in notes:
        say(console, f"not computed: {note}")
    if pair:
        a, b = (sources[path].method_name for path in pair)
        for name, scores in found.items():
            of = {one.method: one for one in scores}
            _say_differences(console, name, of[a], of[b])
    if csv is not None:
        write_csv(csv, found)
        say(console, f"per image: {csv}")


def set_name(folder: Path) -> str:
    """What to call a set: its folder, or the folder above one that is only called HR."""
    folder = folder.absolute()
    return folder.parent.name if folder.name.lower() == "hr" else folder.name


def _open_sources(
    weights: Sequence[Path], outputs: Sequence[Path], compared: Sequence[Path], device: torch.device
) -> dict[Path, MethodSource]:
    """What is to be scored, by real path."""
    asked = [(path, True) for path in weights] + [(path, False) for path in outputs]
    asked += [(p, RunFolder(p).config.is_file() or not p.is_dir()) for p in compared]
    sources: dict[Path, MethodSource] = {}
    for path, is_weights in asked:
        place = real_path(path)
        if place not in sources:
            generator = load_generator(path).generator.to(device) if is_weights else None
            name = path.stem if is_weights else place.name
            sources[place] = MethodSource(name, path, generator)
    names = [source.method_name for source in sources.values()]
    for place, source in sources.items():
        if names.count(source.method_name) > 1:
            sources[place] = replace(source, name=str(source.path.with_suffix("")))
    return sources


def _common_scale(sources: Sequence[MethodSource], asked: int | None) -> int:
    scales: set[int] = {s.generator.config.scale for s in sources if s.generator is not None}
    scales |= set() if asked is None else {asked}
    if len(scales) > 1:
        known = " and ".join(f"x{scale}" for scale in sorted(scales))
        raise UserError(f"{known} cannot be in one table: give weights of one scale")
    return scales.pop() if scales else DEFAULT_SCALE


def _methods(
    sources: Sequence[MethodSource],
    catalog: Catalog,
    name: str,
    own_folders: bool,
    device: torch.device,
    console: Console,
) -> tuple[Catalog, list[Method]]:
    """The images of a set that every folder of outputs has, and the methods, bicubic first.

    With `own_folders`, each set's outputs are in a folder of the set's name.
    """
    # The field's bicubic row starts from bicubic LR, whatever the networks were trained on.
    kinds: list[Degradation] = ["bicubic", *(source.degradation for source in sources)]
    methods = [
        Method(f"bicubic ({kind} LR)", kind, by_bicubic(catalog.scale))
        for kind in dict.fromkeys(kinds)
    ]
    common = set(catalog.names)
    for source in sources:
        if source.generator is not None:
            upscale = by_generator(source.generator, device)
        else:
            folder = source.path / name
            if own_folders and not folder.is_dir():
                raise UserError(f"{source.path}: with several sets, put the outputs into {folder}")
            folder = folder if folder.is_dir() else source.path
            files = match_outputs(folder, catalog)
            for image in [image for image in catalog.names if image not in files]:
                say(console, f"{folder}: no output for {image}, which is left out for all methods")
            common &= files.keys()
            upscale = by_files(files, catalog.scale)
        methods.append(Method(source.method_name, source.degradation, upscale))
    if not common:
        raise UserError(f"{name}: no image has an output in every folder")
    kept = [index for index, image in enumerate(catalog.names) if image in common]
    return catalog.subset(kept), methods


def _say_set(
    console: Console, name: str, scores: Sequence[Scores], measures: Sequence[Measure], scale: int
) -> None:
    """A set's table and its notes."""
    count = len(scores[0].rows)
    title = f"{name}: {count} images, x{scale}, {scale} px border cropped"
    print_metrics(console, title, [(s.method, s.means()) for s in scores])
    for measure in measures:
        small = sum(value != value for value in scores[0].values(measure.name))
        if small:
            say(
                console,
                f"{measure.title}: without {small} of {count} images, which are under "
                f"{measure.least_px} pixels without their border, or flat",
            )


def _say_differences(console: Console, name: str, a: Scores, b: Scores) -> None:
    """Paired differences of two methods on a set."""
    differences = differences_between(a, b)
    rows = []
    for d in differences:
        interval, digits = d.difference.interval, d.measure.digits + 1
        low_high = "-"
        if interval is not None:
            low_high = f"{interval.low:+.{digits}f} to {interval.high:+.{digits}f}"
        rows.append(
            (
                d.measure.title,
                d.measure.text(d.mean_a),
                d.measure.text(d.mean_b),
                f"{d.difference.mean:+.{digits}f}",
                low_high,
                f"{d.b_wins} of {d.difference.count}",
                d.verdict,
            )
        )
    print_table(console, f"{name}: B against A", DIFFERENCE_COLUMNS, rows)
    say(console, f"A: {a.method}")
    say(console, f"B: {b.method}")
    count = max((d.difference.count for d in differences), default=0)
    if 1 < count < FEW_IMAGES:
        say(console, f"Of {count} images, an interval by resampling is rather too narrow.")
