"""`upscale` behind the command line."""

from pathlib import Path

import torch
from rich.markup import escape

from counterpoise.commands.console import ConsoleReporter, say
from counterpoise.data.images import real_path
from counterpoise.errors import UserError
from counterpoise.models import import_weights as official
from counterpoise.models.weights import SHIPPED, load_generator
from counterpoise.upscale import plan_pictures, upscale_pictures


def run(
    source: Path,
    destination: Path | None,
    weights: Path | None,
    device: str,
    tile_px: int,
    overwrite: bool,
    skip_existing: bool,
) -> int:
    """Upscale with a progress bar; say what was written, skipped and lost. The exit code: 3 where
    some pictures were skipped."""
    loaded = load_generator(SHIPPED if weights is None else weights)
    scale = loaded.generator.config.scale
    if destination is None:
        # PNG, whatever the source is: nothing that the network drew is compressed away.
        own = real_path(source)
        name = f"{own.name}-x{scale}" if own.is_dir() else f"{own.stem}-x{scale}.png"
        beside = own if source.name in ("", "..") else source
        destination = beside.with_name(name)
    pairs = plan_pictures(source, destination, overwrite=overwrite, skip_existing=skip_existing)
    if not pairs:
        say(f"nothing to do: all pictures are in {destination} already")
        return 0
    chosen = pick_device(device)
    loaded.generator.to(chosen)
    with ConsoleReporter() as bar:
        summary = upscale_pictures(
            loaded.generator,
            pairs,
            chosen,
            tile_px,
            lambda path: lambda done, total: bar.progress(done, total, escape(path.name)),
        )
    for note in summary.notes:
        say(f"note: {note}")
    for error in summary.skipped:
        say(f"skipped {error}")
    where = summary.written[0] if len(summary.written) == 1 else destination
    skipped = f", {len(summary.skipped)} skipped" if summary.skipped else ""
    say(f"{len(summary.written)} of {len(pairs)} upscaled x{scale}{skipped}: {where}")
    if weights is None and (trained := loaded.metadata.get("trained")):
        say(f"weights of this package ({trained}); --weights takes others")
    if licence := loaded.metadata.get("licence"):
        say(f"weights under {licence}")
    return 3 if summary.skipped else 0


def import_weights(file: Path, output: Path) -> None:
    """Convert the authors' weights; say what they are, and under which licence."""
    tensors, parameters = official.import_official(file, output)
    what = f"{tensors} tensors, {parameters:,} parameters, from {official.OFFICIAL_SOURCE}"
    say(f"{output}: {what}")
    say(f"Licence of these weights: {official.OFFICIAL_LICENCE}")


def pick_device(name: str) -> torch.device:
    """The device of that name; auto takes CUDA, then MPS, where there is one."""
    modules = {"cuda": torch.cuda, "mps": torch.backends.mps, "cpu": torch.cpu}
    here = [kind for kind, module in modules.items() if module.is_available()]
    if name not in ("auto", *here):
        raise UserError(f"--device {name}: unknown, or not here; here are {', '.join(here)}")
    return torch.device(here[0] if name == "auto" else name)
