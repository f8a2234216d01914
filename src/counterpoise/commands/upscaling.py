"""`upscale` behind the command line."""

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from counterpoise.commands.console import say
from counterpoise.commands.device import pick_device
from counterpoise.models.weights import load_generator
from counterpoise.upscale import Progress as TileProgress
from counterpoise.upscale import plan_pictures, upscale_pictures


def run(
    source: Path,
    destination: Path,
    weights: Path,
    device: str,
    tile_px: int,
    overwrite: bool,
    console: Console,
) -> None:
    """Upscale with a progress bar; say what was written, skipped and lost."""
    pairs = plan_pictures(source, destination, overwrite=overwrite)
    chosen = pick_device(device)
    loaded = load_generator(weights)
    loaded.generator.to(chosen)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:

        def progress(path: Path) -> TileProgress:
            task = bar.add_task(path.name)
            return lambda done, total: bar.update(task, completed=done, total=total)

        summary = upscale_pictures(loaded.generator, pairs, chosen, tile_px, progress)
    for note in summary.notes:
        say(console, f"note: {note}")
    for error in summary.skipped:
        say(console, f"skipped {error}")
    where = summary.written[0] if len(summary.written) == 1 else destination
    scale = loaded.generator.config.scale
    say(console, f"{len(summary.written)} of {len(pairs)} upscaled x{scale}: {where}")
    if licence := loaded.metadata.get("licence"):
        say(console, f"weights under {licence}")
