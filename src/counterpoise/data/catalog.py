"""Which images a run trains on and is measured on, and which were left out and why."""

import importlib.resources
import os
import re
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from counterpoise.config import DataConfig, DegradationConfig
from counterpoise.data.images import UnreadableImageError, find_images, read_rgb, real_path
from counterpoise.data.resize import downscale
from counterpoise.errors import UserError
from counterpoise.registry import read_table

# Photographs and textures inside scikit-image's package.
BUILT_IN = read_table("counterpoise.data", "built_in.toml")
# What tells an original from its small version where both are in one folder.
HR_MARK = re.compile(r"[_-](hr|gt)$", re.IGNORECASE)
LR_MARK = re.compile(r"[_-](lr|lq)$", re.IGNORECASE)


class Pixels(NamedTuple):
    """An image as uint8 (H, W, 3), with its own low-resolution version or None."""

    hr: np.ndarray
    lr: np.ndarray | None


@dataclass(frozen=True, eq=False)
class CatalogImage:
    """An image: its file, and that of its own low-resolution version where one was given."""

    name: str
    hr_path: Path
    lr_path: Path | None = None
    pixels: Pixels | None = None  # where they are kept


@dataclass(frozen=True, eq=False)
class Catalog:
    """Usable images of known size, decoded in memory where they fit."""

    images: tuple[CatalogImage, ...]
    # Those that are not used, and why.
    skipped: tuple[UnreadableImageError, ...]
    scale: int
    square_px: int | None
    # Where they are from, in words.
    origin: str

    def __len__(self) -> int:
        return len(self.images)

    @property
    def names(self) -> list[str]:
        """The images' names, in order."""
        return [image.name for image in self.images]

    @property
    def description(self) -> str:
        """How many images from where, and how many were skipped, in words."""
        text = f"{len(self)} images of {self.origin}"
        if self.skipped:
            text += f"; {len(self.skipped)} skipped"
        cached = sum(image.pixels is not None for image in self.images)
        return text + ("" if self.in_memory else f"; {cached} of them fit in the cache")

    @property
    def in_memory(self) -> bool:
        """Whether every image is kept decoded."""
        return all(image.pixels is not None for image in self.images)

    def load(self, index: int) -> Pixels:
        """The image: from the cache, else decoded again.

        Raises `UserError` where it can no longer be read: nothing is put in its place.
        """
        try:
            image = self.images[index]
            return image.pixels or decode(image, self.scale, self.square_px)
        except UnreadableImageError as error:
            raise UserError(f"{error}; put it back, then resume") from error

    def pair(self, index: int, degradation: DegradationConfig) -> tuple[np.ndarray, np.ndarray]:
        """LR (h, w, 3), the image's own or made here, and HR (H, W, 3), uint8.

        What is random in it depends on the image's name alone.
        """
        image = self.load(index)
        if image.lr is not None:
            return image.lr, image.hr
        seed = list(os.fsencode(self.images[index].name))
        return downscale(image.hr, self.scale, degradation, seed), image.hr

    def pairs(self, degradation: DegradationConfig) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Name, LR and HR of each image; see `pair`."""
        for index, image in enumerate(self.images):
            yield image.name, *self.pair(index, degradation)

    def without_lr(self) -> "Catalog":
        """The images without LR of their own."""
        images = (
            replace(image, lr_path=None, pixels=image.pixels and image.pixels._replace(lr=None))
            for image in self.images
        )
        return replace(self, images=tuple(images))

    def subset(self, indices: Sequence[int]) -> "Catalog":
        """The images with these indices."""
        return replace(self, images=tuple(self.images[index] for index in indices))


def scan(config: DataConfig, scale: int) -> tuple[Catalog, Catalog]:
    """The training and the held-out images of a configuration; every image is decoded once.

    Unreadable and too small images are named in the catalogues; `UserError` when none is left.
    An image in `held_out_folders` is never trained on, also where it is in `folders` as well.
    """
    held_out = None
    if config.held_out_folders:
        own = {"folders": config.held_out_folders, "lr_folders": ()}
        held_out = _of_folders(config.model_copy(update=own), scale)
    if not config.folders:
        training = _built_in(BUILT_IN["training"], config, scale)
        return training, held_out or _built_in(BUILT_IN["held_out"], config, scale)
    if held_out is not None:
        reserved = {real_path(path) for _, path in _distinct(config.held_out_folders)}
        return _of_folders(config, scale, reserved), held_out
    everything = _of_folders(config, scale)
    held = _spread(len(everything), config.held_out_images)
    rest = sorted(set(range(len(everything))) - set(held))
    if not rest:
        why = f"{len(everything)} usable image(s), all of them held out"
        raise UserError(f"data.folders: {why}; give more images, or data.held_out_folders")
    return everything.subset(rest), replace(everything.subset(held), skipped=())


def catalog_folder(
    folder: Path, scale: int, least_px: int, lr_folder: Path | None = None
) -> Catalog:
    """All HR images of one folder as they are, with sides of at least `least_px`, for evaluation.

    LR images are those of `lr_folder`, else a benchmark set's own: in folders `HR` and `LR...x4`
    (or `LR`) of the folder, or beside each other as `..._HR` and `..._LR`.
    """
    inside = {path.name.lower(): path for path in sorted(folder.glob("*/"))}
    if "hr" in inside:
        small = [name for name in inside if re.fullmatch(rf"lr(.*x{scale})?", name)]
        folder, lr_folder = inside["hr"], lr_folder or (inside[small[0]] if small else None)
    elif lr_folder is None:
        stems = [path.stem for path in find_images(folder)]
        if all(any(map(mark.search, stems)) for mark in (HR_MARK, LR_MARK)):
            lr_folder = folder
    lr_folders = () if lr_folder is None else (lr_folder,)
    config = DataConfig(folders=(folder,), lr_folders=lr_folders, crop_px=least_px)
    return _of_folders(config, scale)


def decode(image: CatalogImage, scale: int, square_px: int | None) -> Pixels:
    """Decode an image: square preparation if asked for, then sides cropped to multiples of scale.

    Raises `UnreadableImageError` also where a given LR image is not 1/scale of its HR image.
    """
    hr = read_rgb(image.hr_path)
    if square_px is not None:  # EnhanceNet's preparation (section 5.3): centre square, shrunk
        side = min(hr.shape[:2])
        top, left = (hr.shape[0] - side) // 2, (hr.shape[1] - side) // 2
        hr = hr[top : top + side, left : left + side]
        if side > square_px:  # never enlarged: it is skipped if a crop does not fit
            size = (square_px, square_px)
            hr = np.asarray(Image.fromarray(hr).resize(size, Image.Resampling.BICUBIC))
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    lr = None
    if image.lr_path is not None:
        lr = read_rgb(image.lr_path)
        if lr.shape[:2] != (height, width):
            sizes = f"{lr.shape[1]}x{lr.shape[0]}, not {width}x{height}"
            raise UnreadableImageError(image.lr_path, f"is {sizes} (1/{scale} of its HR image)")
    return Pixels(np.ascontiguousarray(hr[: height * scale, : width * scale]), lr)


def _built_in(names: Sequence[str], config: DataConfig, scale: int) -> Catalog:
    folder = Path(str(importlib.resources.files("skimage") / "data"))
    images = [CatalogImage(name, folder / name) for name in names]
    return _catalog(images, [], config, scale, "scikit-image's photographs")


def _of_folders(config: DataConfig, scale: int, reserved: Collection[Path] = ()) -> Catalog:
    """The images of `folders`, but for those that are `reserved`, with their LR images if given.

    An LR image has the name of its HR image, suffix aside, but for marks such as `x4`, `_LR` and
    `_HR`. Where a name is met twice on either side, no pair is guessed. In one folder, marks tell
    both from each other, and from what else there is.
    """
    mark = re.compile(rf"([_-]?x{scale}|[_-](hr|gt|lr|lq|bicubic))+$", re.IGNORECASE)
    found, small = _distinct(config.folders), _distinct(config.lr_folders)
    if set(config.folders) == set(config.lr_folders):
        found = [image for image in found if HR_MARK.search(image[1].stem)] or found
        small = [image for image in small if LR_MARK.search(image[1].stem)]

    def plain(name: str) -> str:
        return mark.sub("", str(Path(name).with_suffix("")))

    images: list[CatalogImage] = []
    skipped: list[UnreadableImageError] = []
    lr_files: dict[str, list[Path]] = {}
    for name, path in small:
        lr_files.setdefault(plain(name), []).append(path)
    times = Counter(plain(name) for name, path in found if real_path(path) not in reserved)
    for name, path in found:
        pair = lr_files.get(plain(name), [])
        if real_path(path) in reserved:
            skipped.append(UnreadableImageError(path, "is held out (data.held_out_folders)"))
        elif not config.lr_folders:
            images.append(CatalogImage(name, path))
        elif len(pair) == times[plain(name)] == 1:
            images.append(CatalogImage(name, path, pair[0]))
        else:
            reason = "has no image of its name in lr_folders, or shares it"
            skipped.append(UnreadableImageError(path, reason))
    return _catalog(images, skipped, config, scale, ", ".join(map(str, config.folders)))


def _distinct(folders: Iterable[Path]) -> list[tuple[str, Path]]:
    """The images of folders with their names (paths in the folder), every file once."""
    found: dict[Path, tuple[str, Path]] = {}
    for folder in folders:
        for path in find_images(folder):
            found.setdefault(real_path(path), (str(path.relative_to(folder)), path))
    return list(found.values())


def _catalog(
    images: Sequence[CatalogImage],
    skipped: Sequence[UnreadableImageError],
    config: DataConfig,
    scale: int,
    origin: str,
) -> Catalog:
    """Decode every image once; keep what can be used, and in memory what fits."""

    def usable(image: CatalogImage) -> Pixels | UnreadableImageError:
        try:
            pixels = decode(image, scale, config.square_px)
        except UnreadableImageError as error:
            return error
        if min(pixels.hr.shape[:2]) < config.crop_px:
            return UnreadableImageError(image.hr_path, f"smaller than {config.crop_px} pixels")
        return pixels

    kept: list[CatalogImage] = []
    left_out = list(skipped)
    room = config.cache_mib * 2**20
    # Decoders release the interpreter's lock, so threads are enough. Each of them silences
    # warnings, which is the whole process's business: what they leave behind is put right here.
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        for image, result in zip(images, pool.map(usable, images), strict=True):
            if isinstance(result, UnreadableImageError):
                left_out.append(result)
                continue
            size = result.hr.nbytes + (0 if result.lr is None else result.lr.nbytes)
            fits = size <= room
            room -= size if fits else 0
            kept.append(replace(image, pixels=result if fits else None))
    if not kept:
        reasons = Counter(item.reason for item in left_out).most_common(2)
        why = "; ".join(f"{count}x {reason}" for reason, count in reasons)
        raise UserError(f"{origin}: no usable image among {len(left_out)} ({why})")
    return Catalog(tuple(kept), tuple(left_out), scale, config.square_px, origin)


def _spread(count: int, wanted: int) -> list[int]:
    """`wanted` indices evenly over `count`, at most half of them (one of one)."""
    wanted = min(wanted, max(1, count // 2))
    return sorted({round((i + 0.5) * count / wanted - 0.5) for i in range(wanted)})
