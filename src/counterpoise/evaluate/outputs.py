"""A folder of somebody's outputs: which file is of which image, and whether it fits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from counterpoise.data.catalog import Catalog
from counterpoise.data.images import find_images, read_rgb
from counterpoise.data.resize import Degradation
from counterpoise.errors import UserError
from counterpoise.evaluate.scores import Method, to_tensor

# An original's own mark, which its outputs do not have: img_001_SRF_4_HR.png.
HR_MARKS = ("_HR", "-HR", "_hr", "_gt", "_GT")
MOST_NAMED = 3


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
    stems: dict[str, str] = {}
    for name in catalog.names:
        stem = _bare(Path(name).stem)
        if stem in stems:
            raise UserError(
                f"{stems[stem]} and {name} have one name, so outputs cannot be told apart; "
                "evaluate their folders one at a time"
            )
        stems[stem] = name
    exact: dict[str, list[Path]] = {}
    marked: dict[str, list[Path]] = {}
    matched = MatchedOutputs()
    for path in find_images(folder):
        fitting = [stem for stem in stems if _is_output_of(path.stem, stem, catalog.scale)]
        if not fitting:
            matched.left_over.append(path)
            continue
        stem = max(fitting, key=len)
        (exact if path.stem == stem else marked).setdefault(stems[stem], []).append(path)
    for name in catalog.names:
        paths = exact.get(name) or marked.get(name, [])
        if len(paths) > 1:
            both = " and ".join(str(path.relative_to(folder)) for path in paths[:2])
            more = f" and {len(paths) - 2} more" if len(paths) > 2 else ""
            raise UserError(
                f"{folder}: {both}{more} are all of {name}; keep one method's outputs in a folder"
            )
        if paths:
            matched.files[name] = paths[0]
        else:
            matched.missing.append(name)
        if exact.get(name):
            matched.left_over += marked.get(name, [])
    if not matched.files:
        raise UserError(
            f"{folder}: none of its {len(matched.left_over)} images has the name of one of the "
            f"{len(catalog)} images to compare with ({catalog.names[0]}, ...)"
        )
    return matched


def _is_output_of(stem: str, image: str, scale: int) -> bool:
    rest = stem.removeprefix(image) if stem.startswith(image) else None
    if rest is None:
        return False
    return not rest or not rest[0].isalnum() or rest.lower().startswith(f"x{scale}")


def _bare(stem: str) -> str:
    """The stem without the mark of an original."""
    return next((stem.removesuffix(mark) for mark in HR_MARKS if stem.endswith(mark)), stem)


def folder_method(
    name: str, files: Mapping[str, Path], catalog: Catalog, degradation: Degradation
) -> Method:
    """A method whose outputs lie in files, by image name; every size is checked now.

    An output is as large as its original, or as that cut to a multiple of the scale. Raises
    `UserError` naming those that are not, or cannot be read.
    """
    wrong = []
    for index, entry in enumerate(catalog.files):
        if entry.name not in files:
            continue
        whole, cut = read_rgb(entry.hr_path).shape[:2], catalog.load(index).hr.shape[:2]
        found = read_rgb(files[entry.name]).shape[:2]
        if found not in (whole, cut):
            sizes = [f"{shape[1]}x{shape[0]}" for shape in (found, whole)]
            wrong.append(f"{files[entry.name]} is {sizes[0]} and its original {sizes[1]}")
    if wrong:
        more = f"; and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
        raise UserError(
            f"outputs must be as large as their originals: {'; '.join(wrong[:3])}{more}"
        )

    def upscale(image: str, lr: np.ndarray) -> Tensor:
        height, width = (catalog.scale * side for side in lr.shape[:2])
        return to_tensor(read_rgb(files[image])[:height, :width])

    return Method(name, degradation, upscale)
