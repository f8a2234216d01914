"""`evaluate` behind the command line."""

from collections.abc import Sequence
from pathlib import Path

import torch

from counterpoise.commands.console import print_metrics, print_table, say
from counterpoise.commands.upscaling import pick_device
from counterpoise.config import DegradationConfig
from counterpoise.data.catalog import Catalog, catalog_folder
from counterpoise.data.images import real_path
from counterpoise.errors import UserError
from counterpoise.evaluate import scores as scoring
from counterpoise.evaluate.measures import Measure, choose_measures
from counterpoise.evaluate.outputs import by_files, match_outputs
from counterpoise.metrics.functional import SSIM_WINDOW_PX
from counterpoise.models.generator import Generator
from counterpoise.models.weights import load_generator
from counterpoise.run_folder import RunFolder

DEFAULT_SCALE = 4
DIFFERENCE_COLUMNS = ("metric", "A", "B", "B - A", "95 % interval", "B better in", "verdict")

# What is to be scored, by its real path: its name, and a generator, or the folder of its outputs.
Sources = dict[Path, tuple[str, Generator | Path]]


def run(
    sets: Sequence[Path],
    data: Sequence[Path],
    weights: Sequence[Path],
    outputs: Sequence[Path],
    metrics: str | None,
    csv: Path | None,
    compare: tuple[Path, Path] | None,
    lr: Path | None,
    degradation: str | None,
    scale: int | None,
    device: str,
) -> None:
    """Print a table per set (a folder of HR images); write what was asked for.

    The two of `compare` are weights or folders of outputs. `scale` is of outputs where there are no
    weights to know it from. All LR images are made by `degradation`, or are those of the folder
    `lr`, or those that a set has; else they are as each network was trained.
    """
    folders = [*data, *sets]
    own = None if degradation is None else DegradationConfig.model_validate(degradation)
    if lr is not None and (own or len(folders) > 1):
        raise UserError("--lr is of one folder of HR images, and without --degradation")
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
            raise UserError(f"{folder}: weights, no HR images; give --weights once for each")
    scales: set[int] = {g.config.scale for _, g in sources.values() if isinstance(g, Generator)}
    scales |= set() if scale is None else {scale}
    if len(scales) > 1:
        known = " and ".join(f"x{one}" for one in sorted(scales))
        raise UserError(f"{known} cannot be in one table: give weights of one scale")
    common_scale = scales.pop() if scales else DEFAULT_SCALE
    found: dict[str, list[scoring.Scores]] = {}
    for folder in folders:
        # A folder that is only called HR goes by the one above it.
        whole = folder.absolute()
        plain = whole.parent.name if whole.name.lower() == "hr" else whole.name
        names = [plain] + [f"{plain}-{n}" for n in range(2, len(found) + 2)]
        name = next(one for one in names if one not in found)
        catalog = catalog_folder(folder, common_scale, SSIM_WINDOW_PX + 2 * common_scale, lr)
        if own is not None:
            catalog = catalog.without_lr()
        for item in catalog.skipped:
            say(f"skipped {item}")
        catalog, methods = _methods(sources, catalog, name, len(folders) > 1, chosen, own)
        found[name] = [
            scoring.score_pairs(each.name, catalog.pairs(each.degradation), each.upscale, measures)
            for each in methods
        ]
        _say_set(name, found[name], measures, common_scale)
    for note in notes:
        say(f"not computed: {note}")
    if pair:
        for name, scores in found.items():
            of = dict(zip(sources, scores[-len(sources) :], strict=True))
            _say_differences(name, *(of[path] for path in pair))
    if csv is not None:
        scoring.write_csv(csv, found)
        say(f"per image: {csv}")


def _open_sources(
    weights: Sequence[Path], outputs: Sequence[Path], compared: Sequence[Path], device: torch.device
) -> Sources:
    asked = [(path, True) for path in weights] + [(path, False) for path in outputs]
    asked += [(p, RunFolder(p).config.is_file() or not p.is_dir()) for p in compared]
    paths, sources = {}, Sources()
    for path, is_weights in asked:
        place = real_path(path)
        if place not in paths:
            paths[place] = path
            made = load_generator(path).generator.to(device) if is_weights else path
            sources[place] = path.stem if is_weights else place.name, made
    names = [name for name, _ in sources.values()]
    return {
        place: (name if names.count(name) == 1 else str(paths[place].with_suffix("")), made)
        for place, (name, made) in sources.items()
    }


def _methods(
    sources: Sources,
    catalog: Catalog,
    name: str,
    own_folders: bool,
    device: torch.device,
    degradation: DegradationConfig | None,
) -> tuple[Catalog, list[scoring.Method]]:
    """The images of a set that every folder of outputs has, and the methods, bicubic first.

    With `own_folders`, each set's outputs are in a folder of the set's name. `degradation` takes
    the place of what each network was trained on.
    """
    if lr_path := catalog.images[0].lr_path:
        say(f"{name}: LR images of {lr_path.parent}")
        degradation = DegradationConfig(name="paired")
    plain_lr = degradation or DegradationConfig()
    methods, common = [], set(catalog.names)
    for title, made in sources.values():
        if isinstance(made, Generator):
            lr, upscale = degradation or made.config.degradation, scoring.by_generator(made, device)
            if lr.name == "paired" and degradation is None:
                say(f"{name}: {title} was trained on pairs; give --lr. LR here is bicubic")
                lr = plain_lr
            methods.append(scoring.Method(f"{title} ({lr} LR)", lr, upscale))
            continue
        folder = made / name
        if own_folders and not folder.is_dir():
            raise UserError(f"{made}: with several sets, put the outputs into {folder}")
        folder = folder if folder.is_dir() else made
        files = match_outputs(folder, catalog)
        for image in [image for image in catalog.names if image not in files]:
            say(f"{folder}: no output for {image}, which is left out for all methods")
        common &= files.keys()
        methods.append(scoring.Method(title, plain_lr, by_files(files, catalog.scale)))
    if not common:
        raise UserError(f"{name}: no image has an output in every folder")
    kept = [index for index, image in enumerate(catalog.names) if image in common]
    # The field's bicubic row starts from bicubic LR, whatever the networks were trained on.
    kinds = dict.fromkeys([plain_lr, *(method.degradation for method in methods)])
    if len({kind.name for kind in kinds}) < len(kinds):
        raise UserError("these networks draw from other ranges; give --degradation real-esrgan")
    if any(kind.name == "real-esrgan" for kind in kinds):
        say(f"{name}: real-esrgan LR is drawn by image name, in each evaluation alike")
    bicubic = scoring.by_bicubic(catalog.scale)
    plain = [scoring.Method(f"bicubic ({kind} LR)", kind, bicubic) for kind in kinds]
    return catalog.subset(kept), plain + methods


def _say_set(
    name: str, scores: Sequence[scoring.Scores], measures: Sequence[Measure], scale: int
) -> None:
    """A set's table and its notes."""
    count = len(scores[0].rows)
    title = f"{name}: {count} images, x{scale}, {scale} px border cropped"
    print_metrics(title, [(s.method, s.means()) for s in scores])
    for measure in measures:
        if small := sum(value != value for value in scores[0].values(measure.name)):
            say(
                f"{measure.title}: without {small} of {count} images, which are under "
                f"{measure.least_px} pixels without their border, or flat",
            )


def _say_differences(name: str, a: scoring.Scores, b: scoring.Scores) -> None:
    """Paired differences of two methods on a set."""
    rows, count = [], 0
    for d in scoring.differences_between(a, b):
        interval, digits = d.difference.interval, d.measure.digits + 1
        count = max(count, d.difference.count)
        row = [d.measure.title, d.measure.text(d.mean_a), d.measure.text(d.mean_b)]
        row.append(f"{d.difference.mean:+.{digits}f}")
        row.append(
            f"{interval.low:+.{digits}f} to {interval.high:+.{digits}f}" if interval else "-"
        )
        rows.append([*row, f"{d.b_wins} of {d.difference.count}", d.verdict])
    print_table(f"{name}: B against A", DIFFERENCE_COLUMNS, rows)
    say(f"A: {a.method}")
    say(f"B: {b.method}")
    if 1 < count < scoring.FEW_IMAGES:
        say(f"Of {count} images, an interval by resampling is rather too narrow.")
