"""A folder of somebody's outputs: which file is of which image, and whether it fits."""

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from counterpoise.data.catalog import HR_MARK, Catalog
from counterpoise.data.images import find_images, read_rgb
from counterpoise.errors import UserError
from counterpoise.evaluate.scores import Upscale, to_tensor


def match_outputs(folder: Path, catalog: Catalog) -> dict[str, Path]:
    """The output of each image of a set, by the image's name; some may have none.

    The name, suffix aside, may be followed by anything that does not begin with a letter or a
    digit, or by x and the scale: `img_001.png`, `img_001x4.png`, `img_001_SRF_4_SRGAN.png`. The
    longest name that fits is meant, and an exact one goes first. Raises `UserError` where an image
    has two such files, where two images share a name, and where none has any.
    """
    images: dict[str, str] = {}
    for name in catalog.names:
        other = images.setdefault(HR_MARK.sub("", Path(name).stem), name)
        if other != name:
            raise UserError(f"{other} and {name} have one name; evaluate their folders apart")
    mark = rf"([\W_].*|[xX]{catalog.scale}.*)?"
    found: dict[str, list[Path]] = defaultdict(list)
    for path in find_images(folder):
        fitting = [stem for stem in images if re.fullmatch(re.escape(stem) + mark, path.stem)]
        if fitting:
            found[max(fitting, key=len)].append(path)
    matched = {}
    for stem, paths in found.items():
        chosen, *others = [path for path in paths if path.stem == stem] or paths
        if others:
            files = ", ".join(str(path.relative_to(folder)) for path in (chosen, *others))
            why = f"{files} are all of {images[stem]}"
            raise UserError(f"{folder}: {why}; keep one method's outputs in a folder")
        matched[images[stem]] = chosen
    if not matched:
        which = f"the {len(catalog)} images to compare with ({catalog.names[0]}, ...)"
        raise UserError(f"{folder}: no image in it has the name of one of {which}")
    return matched


def by_files(files: Mapping[str, Path], scale: int) -> Upscale:
    """Outputs that lie in files, by image name.

    An output is as large as its original, or as that cut to a multiple of the scale. What is
    returned raises `UserError` naming one that is not, or cannot be read.
    """

    def upscale(image: str, lr: np.ndarray) -> Tensor:
        pixels = read_rgb(files[image])
        height, width = scale * lr.shape[0], scale * lr.shape[1]
        rows, columns = pixels.shape[:2]
        if not (height <= rows < height + scale and width <= columns < width + scale):
            sizes = f"{columns}x{rows}, not {width}x{height}"
            raise UserError(f"{files[image]} is {sizes}: outputs are as large as their originals")
        return to_tensor(pixels[:height, :width])

    return upscale
