"""`evaluate` behind the command line."""

from pathlib import Path

from rich.console import Console

from counterpoise.commands.console import metrics_table
from counterpoise.commands.weights import open_weights, pick_device
from counterpoise.data.catalog import Catalog, catalog_folder
from counterpoise.data.dataset import full_pairs
from counterpoise.evaluate import Scores, score_bicubic, score_generator, write_csv
from counterpoise.metrics.functional import SSIM_WINDOW_PX


def run(
    weights: Path, folders: list[Path], csv: Path | None, device: str, console: Console
) -> None:
    """Print a table per set, and write one row per image to `csv`."""
    chosen = pick_device(device)
    loaded = open_weights(weights, chosen)
    config = loaded.generator.config
    scale = config.scale
    sets: dict[str, list[Scores]] = {}
    for folder in folders:
        catalog = catalog_folder(folder, scale, SSIM_WINDOW_PX + 2 * scale)
        name = set_name(folder)
        _say_skipped(catalog, console)
        # The field's bicubic row starts from bicubic LR, whatever the network was trained on.
        degradations = dict.fromkeys(("bicubic", config.degradation))
        scores = [
            score_bicubic(full_pairs(catalog, scale, d), scale, f"bicubic ({d} LR)")
            for d in degradations
        ]
        pairs = full_pairs(catalog, scale, config.degradation)
        method = f"{weights.stem} ({config.degradation} LR)"
        scores.append(score_generator(loaded.generator, pairs, scale, chosen, method))
        sets[name] = scores
        rows = [(s.method, s.means()) for s in scores]
        count = len(scores[0].rows)
        console.print(
            metrics_table(f"{name}: {count} images, x{scale}, {scale} px border cropped", rows)
        )
    if csv is not None:
        write_csv(csv, sets)
        console.print(f"per image: {csv}", markup=False, highlight=False, soft_wrap=True)


def set_name(folder: Path) -> str:
    """What to call a set: its folder, or the folder above one that is only called HR."""
    folder = folder.absolute()
    return folder.parent.name if folder.name.lower() == "hr" else folder.name


def _say_skipped(catalog: Catalog, console: Console) -> None:
    for item in catalog.skipped:
        console.print(f"skipped {item.path}: {item.reason}", markup=False, soft_wrap=True)
