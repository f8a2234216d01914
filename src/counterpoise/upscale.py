"""Upscaling pictures of any size in tiles, with the same result as whole."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from counterpoise.data.images import (
    WRITABLE_SUFFIXES,
    Picture,
    find_images,
    read_picture,
    real_path,
)
from counterpoise.errors import UserError
from counterpoise.models.bicubic import REACH_PX, bicubic_upsample
from counterpoise.models.generator import Generator
from counterpoise.picture_io import check_writable, write_picture

# Called with the number of tiles done and the number of all, for a picture.
Progress = Callable[[int, int], None]


@dataclass
class UpscaleSummary:
    """What became of the pictures."""

    written: list[Path] = field(default_factory=list)
    skipped: list[UserError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def upscale_picture(
    generator: Generator, picture: Picture, device: torch.device, tile_px: int, progress: Progress
) -> Picture:
    """A picture `scale` times as large, with as many bits per channel.

    Grey goes through the network as RGB and comes back as the mean of the channels. Alpha is
    upscaled bicubically: the network knows photographs, not masks.
    """
    if device.type == "cpu" and generator.config.source is None:
        # A quarter less time. Networks of others may hold views that it breaks.
        generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    scale = generator.config.scale

    def network(tile: Tensor) -> Tensor:
        grey = tile.shape[1] == 1
        output: Tensor = generator(tile.expand(-1, 3, -1, -1))
        return output.mean(1, keepdim=True) if grey else output

    context_px = generator.receptive_radius_px()
    seen = picture.colour if picture.alpha is None else _bled(picture.colour, picture.alpha)
    colour = upscale_tiled(network, seen, scale, device, tile_px, context_px, progress)
    alpha = None
    if picture.alpha is not None:
        plane = picture.alpha[..., None]
        bicubic = partial(bicubic_upsample, scale=scale, kind="half-pixel")
        alpha = upscale_tiled(bicubic, plane, scale, device, tile_px, REACH_PX)[..., 0]
    return replace(picture, colour=colour, alpha=alpha)


def _bled(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours in which what alpha hides whole has the colour of the nearest pixel in sight: any
    that a program left there, mostly black, would shine through at the edges once upscaled."""
    from scipy import ndimage  # takes a second to import

    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return colour
    nearest = ndimage.distance_transform_edt(  # type: ignore[attr-defined]
        hidden, return_distances=False, return_indices=True
    )
    return colour[tuple(nearest)]


def upscale_tiled(
    function: Callable[[Tensor], Tensor],
    pixels: np.ndarray,
    scale: int,
    device: torch.device,
    tile_px: int,
    context_px: int,
    progress: Progress = lambda done, total: None,
) -> np.ndarray:
    """`function` on (H, W, C) pixels of uint8 or uint16, tile by tile: (scale H, scale W, C).

    Each tile is computed with `context_px` of its surroundings. Where that covers what an output
    pixel depends on, there is no seam: the result is that of the whole picture up to rounding.
    Besides input and output, only one tile is in memory.
    """
    height, width, channels = pixels.shape
    most = np.iinfo(pixels.dtype).max
    output = np.empty((scale * height, scale * width, channels), pixels.dtype)
    tiles = [(y, x) for y in range(0, height, tile_px) for x in range(0, width, tile_px)]
    with torch.inference_mode():
        for done, (y, x) in enumerate(tiles, start=1):
            bottom, right = min(y + tile_px, height), min(x + tile_px, width)
            top, left = max(0, y - context_px), max(0, x - context_px)
            part = pixels[top : bottom + context_px, left : right + context_px]
            tile = torch.from_numpy(part.transpose(2, 0, 1).astype(np.float32)).to(device) / most
            result = function(tile[None])[0]
            rows = slice(scale * (y - top), scale * (bottom - top))
            columns = slice(scale * (x - left), scale * (right - left))
            core = result[:, rows, columns].float().clamp(0, 1).mul(most).round()
            output[scale * y : scale * bottom, scale * x : scale * right] = (
                core.permute(1, 2, 0).cpu().numpy()
            )
            progress(done, len(tiles))
    return output


def plan_pictures(
    source: Path, destination: Path, *, overwrite: bool, skip_existing: bool = False
) -> list[tuple[Path, Path]]:
    """Which file is upscaled into which: one file, or all pictures of a folder, nested as they are.

    What is only read becomes a PNG beside the others (`a.avif.png`). A destination in the source
    folder is left out of what is upscaled, and so, where `skip_existing`, is what is there already.
    Raises `UserError` for a missing source, a destination that is the source, that is there already
    (unless `overwrite`), or whose suffix is no format.
    """
    if source.is_dir():
        sources = find_images(source)
        if real_path(source) in real_path(destination).parents:
            own = real_path(destination)
            sources = [path for path in sources if own not in real_path(path).parents]
        pairs = [(path, destination / _writable(path.relative_to(source))) for path in sources]
        if destination.is_file():
            raise UserError(f"{destination}: is a file, and {source} is a folder; give a folder")
    elif source.is_file():
        into_folder = destination.is_dir() or not destination.suffix
        own = _writable(Path(source.name))
        pairs = [(source, destination / own if into_folder else destination)]
    else:
        raise UserError(f"{source}: no such file or folder; give a picture or a folder of them")
    if skip_existing:
        pairs = [(path, target) for path, target in pairs if not target.exists()]
    for path, target in pairs:
        check_writable(target)
        if target.exists() and real_path(target) == real_path(path):
            raise UserError(f"{target}: would replace its own source; choose another place")
        if target.exists() and not overwrite:
            todo = "choose another place, or use --overwrite or --skip-existing"
            raise UserError(f"{target}: exists already; {todo}")
    return pairs


def _writable(name: Path) -> Path:
    is_written = name.suffix.lower() in WRITABLE_SUFFIXES
    return name if is_written else name.with_name(f"{name.name}.png")


def upscale_pictures(
    generator: Generator,
    pairs: list[tuple[Path, Path]],
    device: torch.device,
    tile_px: int,
    progress: Callable[[Path], Progress],
) -> UpscaleSummary:
    """Upscale the pictures of a plan. Those that cannot be read, or that would be too large for
    their format, are skipped and listed.

    `progress` gives, for a picture, what is told of its tiles. Raises `UserError` if every picture
    was skipped.
    """
    summary = UpscaleSummary()
    for source, target in pairs:
        try:
            picture = read_picture(source)
            check_writable(target, generator.config.scale * max(picture.colour.shape[:2]))
        except UserError as error:
            summary.skipped.append(error)
            continue
        larger = upscale_picture(generator, picture, device, tile_px, progress(source))
        summary.notes += [*larger.notes, *write_picture(target, larger)]
        summary.written.append(target)
    if summary.skipped and not summary.written:
        reasons = "; ".join(str(error) for error in summary.skipped[:3])
        raise UserError(f"no picture could be upscaled: {reasons}")
    return summary
