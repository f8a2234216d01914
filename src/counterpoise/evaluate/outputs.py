"""A folder of somebody's outputs: which file is of which image, and whether it fits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from counterpoise.data.catalog import Catalog
from counterpoise.data.images import find_images, read_rgb
from counterpoise.errors import UserError
from counterpoise.evaluate.scores import Upscale, to_tensor

# An original's own mark, which its outputs do not have: img_001_SRF_4_HR.png.
HR_MARKS = ("_HR", "-HR", "_hr", "_gt", "_GT")


@dataclass
class MatchedOutputs:
    """The files of a folder by the name of the image that they are of."""

    files: dict[str, Path] = field(default_factory=dict)
    # Images without a file, and files without an image.
    missing: list[str] = field(default_factory=list)
    left_over: list[Path] = field(default_factory=list)


def match_outputs(folder: Path, catalog: Catalog) -> MatchedOutputs:
    """Give every image of a set the output of its name, suffix aside.

    The name may be followed by anything that does not begin with a letter or a digit, or by x and
    the scale: `img_001.png`, `img_001x4.png`, `img_001_SRF_4_SRGAN.png`, `img_001-out.jpg`. The
    longest name that fits is meant. Raises `UserError` where an image has two such files, where
    two images share a name, and where none has any.
    """
    images: dict[str, str] = {}
    for name in catalog.names:
        stem = Path(name).stem
        mark = next((mark for mark in HR_MARKS if stem.endswith(mark)), "")
        other = images.setdefault(stem.removesuffix(mark), name)
        if other != name:
            raise UserError(
                f"{other} and {name} have one name, so outputs cannot be told apart; "
                "evaluate their folders one at a time"
            )
    found: dict[str, list[Path]] = {name: [] for name in catalog.names}
    matched = MatchedOutputs()
    for path in find_images(folder):
        fitting = [stem for stem in images if _is_output_of(path.stem, stem, catalog.scale)]
        if fitting:
            found[images[max(fitting, key=len)]].append(path)
        else:
            matched.left_over.append(path)
    for stem, name in images.items():
        exact = [path for path in found[name] if path.stem == stem]
        chosen = exact or found[name]
        if len(chosen) > 1:
            files = ", ".join(str(path.relative_to(folder)) for path in chosen)
            raise UserError(
                f"{folder}: {files} are all of {name}; keep one method's outputs in a folder"
            )
        if chosen:
            matched.files[name] = chosen[0]
            matched.left_over += [path for path in found[name] if path not in chosen]
        else:
            matched.missing.append(name)
    if not matched.files:
        raise UserError(
            f"{folder}: none of its {len(matched.left_over)} images has the name of one of the "
            f"{len(catalog)} images to compare with ({catalog.names[0]}, ...)"
        )
    return matched


def _is_output_of(stem: str, image: str, scale: int) -> bool:
    rest = stem.removeprefix(image)
    marked = not rest or not rest[0].isalnum() or rest.lower().startswith(f"x{scale}")
    return stem.startswith(image) and marked


def by_files(files: Mapping[str, Path], scale: int) -> Upscale:
    """Outputs that lie in files, by image name.

    An output is as large as its original, or as that cut to a multiple of the scale. What is
    returned raises `UserError` naming one that is not, or cannot be read.
    """

    def upscale(image: str, lr: np.ndarray) -> Tensor:
        pixels = read_rgb(files[image])
        height, width = lr.shape[:2]
        if (pixels.shape[0] // scale, pixels.shape[1] // scale) != (height, width):
            found, wanted = (
                f"{pixels.shape[1]}x{pixels.shape[0]}",
                f"{scale * width}x{scale * height}",
            )
            raise UserError(
                f"{files[image]} is {found}, not {wanted}: outputs must be as large as their "
                "originals, or as those cut to multiples of the scale"
            )
        return to_tensor(pixels[: scale * height, : scale * width])

    return upscale
