"""Which images a run trains on and is measured on, and which were left out and why."""

import importlib.resources
import os
import re
import warnings
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from counterpoise.config import DataConfig
from counterpoise.data.images import UnreadableImageError, find_images, read_rgb, real_path
from counterpoise.errors import UserError

# Photographs and textures inside scikit-image's package. The held-out ones are never trained on;
# the two motorcycle images show one scene, so they stay on one side.
BUILT_IN_TRAINING = (
    "motorcycle_left.png",
    "motorcycle_right.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "retina.jpg",
    "camera.png",
    "brick.png",
    "grass.png",
    "gravel.png",
    "coins.png",
    "moon.png",
)
BUILT_IN_HELD_OUT = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")


@dataclass(frozen=True)
class Skipped:
    """An image that is not used."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Entry:
    """An image, and its own low-resolution version where one was given."""

    name: str
    hr_path: Path
    lr_path: Path | None = None


class Catalog:
    """Usable images of known size, decoded in memory where they fit."""

    def __init__(
        self,
        entries: Sequence[Entry],
        images: Sequence["Decoded | None"],
        skipped: Sequence[Skipped],
        scale: int,
        square_px: int | None,
        origin: str,
    ) -> None:
        self.entries, self.skipped, self.scale = tuple(entries), tuple(skipped), scale
        self._images, self._square_px, self._origin = list(images), square_px, origin

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def names(self) -> list[str]:
        """The images' names, in order."""
        return [entry.name for entry in self.entries]

    @property
    def description(self) -> str:
        """How many images from where, and how many were skipped, in words."""
        text = f"{len(self)} images of {self._origin}"
        if self.skipped:
            text += f"; {len(self.skipped)} skipped"
        cached = sum(image is not None for image in self._images)
        return text + ("" if self.in_memory else f"; {cached} of them fit in the cache")

    @property
    def in_memory(self) -> bool:
        """Whether every image is kept decoded."""
        return all(image is not None for image in self._images)

    @property
    def hr_bytes(self) -> int:
        """What the decoded high-resolution images in memory take."""
        return sum(image.hr.nbytes for image in self._images if image is not None)

    def load(self, index: int) -> "Decoded":
        """The image: from the cache, else decoded again.

        Raises `UserError` where it can no longer be read: nothing is put in its place.
        """
        image = self._images[index]
        if image is not None:
            return image
        try:
            return decode(self.entries[index], self.scale, self._square_px)
        except UnreadableImageError as error:
            raise UserError(
                f"{error}; it could be read when the training began: put it back, then resume"
            ) from error

    def subset(self, indices: Sequence[int], skipped: Sequence[Skipped] = ()) -> "Catalog":
        """The images with these indices."""
        return Catalog(
            [self.entries[i] for i in indices],
            [self._images[i] for i in indices],
            skipped,
            self.scale,
            self._square_px,
            self._origin,
        )


@dataclass(frozen=True)
class Decoded:
    """An image as uint8 (H, W, 3), with its own low-resolution version or None."""

    hr: np.ndarray
    lr: np.ndarray | None

    @property
    def bytes(self) -> int:
        return self.hr.nbytes + (0 if self.lr is None else self.lr.nbytes)


def scan(config: DataConfig, scale: int) -> tuple[Catalog, Catalog]:
    """The training and the held-out images of a configuration; every image is decoded once.

    Unreadable and too small images are named in the catalogues; `UserError` when none is left.
    An image in `held_out_folders` is never trained on, also where it is in `folders` as well.
    """
    if not config.folders:
        folder = Path(str(importlib.resources.files("skimage") / "data"))
        origin = "scikit-image's photographs"
        training, held_out = (
            _catalog([Entry(name, folder / name) for name in names], config, scale, origin)
            for names in (BUILT_IN_TRAINING, BUILT_IN_HELD_OUT)
        )
        if config.held_out_folders:
            held_out = _of_folders(config.held_out_folders, (), config, scale)
        return training, held_out
    if config.held_out_folders:
        held_out = _of_folders(config.held_out_folders, (), config, scale)
        reserved = {real_path(path) for _, path in _distinct(config.held_out_folders)}
        return _of_folders(config.folders, config.lr_folders, config, scale, reserved), held_out
    everything = _of_folders(config.folders, config.lr_folders, config, scale)
    held = _spread(len(everything), config.held_out_images)
    rest = sorted(set(range(len(everything))) - set(held))
    if not rest:
        raise UserError(
            f"data.folders: {len(everything)} usable image(s), all of them held out; give more "
            "images, or others in data.held_out_folders"
        )
    return everything.subset(rest, everything.skipped), everything.subset(held)


def catalog_folder(folder: Path, scale: int, least_px: int) -> Catalog:
    """All images of one folder as they are, with sides of at least `least_px`, for evaluation."""
    config = DataConfig(folders=(folder,), crop_px=least_px)
    return _of_folders((folder,), (), config, scale)


def decode(entry: Entry, scale: int, square_px: int | None) -> Decoded:
    """Decode an entry: square preparation if asked for, then sides cropped to multiples of scale.

    Raises `UnreadableImageError` also where a given LR image is not 1/scale of its HR image.
    """
    hr = read_rgb(entry.hr_path)
    if square_px is not None:
        hr = _centre_square(hr, square_px)
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    lr = None
    if entry.lr_path is not None:
        lr = read_rgb(entry.lr_path)
        if lr.shape[:2] != (height, width):
            raise UnreadableImageError(
                entry.lr_path,
                f"is {lr.shape[1]}x{lr.shape[0]}, its HR image at x{scale} asks for "
                f"{width}x{height}",
            )
    return Decoded(np.ascontiguousarray(hr[: height * scale, : width * scale]), lr)


def _of_folders(
    folders: Sequence[Path],
    lr_folders: Sequence[Path],
    config: DataConfig,
    scale: int,
    reserved: Collection[Path] = (),
) -> Catalog:
    entries: list[Entry] = []
    skipped: list[Skipped] = []
    for name, path in _distinct(folders):
        if real_path(path) in reserved:
            skipped.append(Skipped(path, "is held out (data.held_out_folders)"))
        else:
            entries.append(Entry(name, path))
    if lr_folders:
        entries, unpaired = _pair(entries, lr_folders, scale)
        skipped += unpaired
    origin = ", ".join(str(folder) for folder in folders)
    return _catalog(entries, config, scale, origin, skipped)


def _distinct(folders: Iterable[Path]) -> list[tuple[str, Path]]:
    """The images of folders with their names (paths in the folder), every file once."""
    found: dict[Path, tuple[str, Path]] = {}
    for folder in folders:
        for path in find_images(folder):
            found.setdefault(real_path(path), (str(path.relative_to(folder)), path))
    return list(found.values())


def _pair(
    entries: Sequence[Entry], lr_folders: Sequence[Path], scale: int
) -> tuple[list[Entry], list[Skipped]]:
    """Give each HR image the LR image of its name, suffix aside, or of its name with `x4`.

    Where a name is met twice on either side, no pair is guessed.
    """
    exact: dict[str, list[Path]] = {}
    marked: dict[str, list[Path]] = {}
    for name, path in _distinct(lr_folders):
        stem = _stem(name)
        exact.setdefault(stem, []).append(path)
        marked.setdefault(re.sub(rf"[_-]?x{scale}$", "", stem), []).append(path)
    times = Counter(_stem(entry.name) for entry in entries)
    paired: list[Entry] = []
    skipped: list[Skipped] = []
    for entry in entries:
        stem = _stem(entry.name)
        candidates = exact.get(stem) or marked.get(stem, [])
        if not candidates:
            skipped.append(Skipped(entry.hr_path, "has no image of its name in lr_folders"))
        elif len(candidates) > 1 or times[stem] > 1:
            skipped.append(Skipped(entry.hr_path, "shares its name, so its LR image is ambiguous"))
        else:
            paired.append(Entry(entry.name, entry.hr_path, candidates[0]))
    return paired, skipped


def _stem(name: str) -> str:
    return str(Path(name).with_suffix(""))


def _catalog(
    entries: Sequence[Entry],
    config: DataConfig,
    scale: int,
    origin: str,
    skipped: Sequence[Skipped] = (),
) -> Catalog:
    """Decode every entry once; keep what can be used, and in memory what fits."""
    usable: list[Entry] = []
    images: list[Decoded | None] = []
    left_out = list(skipped)
    room = config.cache_mib * 2**20
    # Decoders release the interpreter's lock, so threads are enough. Each of them silences
    # warnings, which is the whole process's business: what they leave behind is put right here.
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")
        for entry, result in _in_order(
            pool, partial(_try_decode, config=config, scale=scale), entries
        ):
            if isinstance(result, Skipped):
                left_out.append(result)
                continue
            keep = result.bytes <= room
            room -= result.bytes if keep else 0
            usable.append(entry)
            images.append(result if keep else None)
    if not usable:
        reasons = Counter(item.reason for item in left_out).most_common(2)
        why = "; ".join(f"{count}x {reason}" for reason, count in reasons)
        raise UserError(f"{origin}: no usable image among {len(left_out)} ({why})")
    return Catalog(usable, images, left_out, scale, config.square_px, origin)


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[Entry], "Decoded | Skipped"], entries: Sequence[Entry]
) -> Iterator[tuple[Entry, "Decoded | Skipped"]]:
    """Entries with their results, a bounded number ahead: one slow image must not make all others
    wait for it decoded, in memory.
    """
    waiting: deque[tuple[Entry, Future[Decoded | Skipped]]] = deque()
    for entry in entries:
        waiting.append((entry, pool.submit(work, entry)))
        if len(waiting) > 2 * (os.cpu_count() or 1):
            first, future = waiting.popleft()
            yield first, future.result()
    for first, future in waiting:
        yield first, future.result()


def _try_decode(entry: Entry, config: DataConfig, scale: int) -> Decoded | Skipped:
    try:
        image = decode(entry, scale, config.square_px)
    except UnreadableImageError as error:
        return Skipped(error.path, error.reason)
    except MemoryError:
        return Skipped(entry.hr_path, "too large for this machine's memory")
    if min(image.hr.shape[:2]) < config.crop_px:
        return Skipped(entry.hr_path, f"smaller than {config.crop_px} pixels")
    return image


def _centre_square(image: np.ndarray, side_px: int) -> np.ndarray:
    """EnhanceNet's preparation (section 5.3): centre square, shrunk; too small stays too small."""
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = Image.fromarray(image[top : top + side, left : left + side])
    if side < side_px:
        return np.asarray(square)  # never enlarged: it is skipped if a crop does not fit
    return np.asarray(square.resize((side_px, side_px), Image.Resampling.BICUBIC))


def _spread(count: int, wanted: int) -> list[int]:
    """`wanted` indices evenly over `count`, at most half of them (one of one)."""
    wanted = min(wanted, max(1, count // 2))
    return sorted({round((i + 0.5) * count / wanted - 0.5) for i in range(wanted)})
