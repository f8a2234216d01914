import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from counterpoise.config import GeneratorConfig
from counterpoise.data.images import Picture, read_picture
from counterpoise.errors import UserError
from counterpoise.models.generator import build_generator
from counterpoise.upscale import plan_pictures, upscale_picture, upscale_pictures, upscale_tiled
from helpers import random_pixels, write_images

CPU = torch.device("cpu")


def make_generator(scale=2, **changes):
    torch.manual_seed(0)
    generator = build_generator(GeneratorConfig(scale=scale, width=4, blocks=1, **changes)).eval()
    return generator.requires_grad_(False)


GENERATOR = make_generator()


def silent(done, total):
    pass


@given(st.integers(1, 40), st.integers(1, 40), st.integers(3, 20), st.integers(0, 5))
def test_tiles_give_the_same_as_the_whole(height, width, tile, seed):
    pixels = random_pixels(seed, height, width)
    radius = GENERATOR.receptive_radius_px()
    tiled = upscale_tiled(GENERATOR, pixels, 2, CPU, tile, radius, silent)
    whole = upscale_tiled(GENERATOR, pixels, 2, CPU, 64, radius, silent)
    assert tiled.shape == (2 * height, 2 * width, 3)
    assert np.abs(tiled.astype(int) - whole.astype(int)).max() <= 1


def test_whole_is_the_network_rounded():
    pixels = random_pixels(1, 9, 7)
    tensor = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None] / 255
    expected = GENERATOR(tensor)[0].clamp(0, 1).mul(255).round().permute(1, 2, 0).numpy()
    result = upscale_tiled(GENERATOR, pixels, 2, CPU, 64, 9, silent)
    np.testing.assert_array_equal(result, expected.astype(np.uint8))


def test_grey_alpha_and_depth_are_kept():
    alpha = np.full((6, 5), 65535, np.uint16)
    alpha[:, :2] = 0
    picture = Picture(random_pixels(0, 6, 5, 1, np.uint16), alpha, b"profile", notes=["a note"])
    larger = upscale_picture(GENERATOR, picture, CPU, 64, silent)
    assert larger.colour.shape == (12, 10, 1)
    assert larger.colour.dtype == larger.alpha.dtype == np.uint16
    assert (larger.icc_profile, larger.notes) == (b"profile", ["a note"])
    assert larger.alpha[:, 0].max() < 6000
    assert larger.alpha[:, -1].min() == 65535


def test_hidden_colours_do_not_shine_through_at_an_edge():
    colour, alpha = np.full((8, 8, 3), 200, np.uint8), np.full((8, 8), 255, np.uint8)
    opaque = upscale_picture(GENERATOR, Picture(colour, alpha), CPU, 64, silent)
    colour, alpha = colour.copy(), alpha.copy()
    colour[:, :4], alpha[:, :4] = 0, 0  # as programs leave what they cut out
    cut_out = upscale_picture(GENERATOR, Picture(colour, alpha), CPU, 64, silent)
    np.testing.assert_array_equal(cut_out.colour, opaque.colour)
    nothing = Picture(colour, np.zeros_like(alpha))
    assert upscale_picture(GENERATOR, nothing, CPU, 64, silent).alpha.max() == 0


def test_a_grey_picture_is_the_mean_of_its_channels():
    grey = random_pixels(0, 6, 5, 1)
    colour = upscale_tiled(GENERATOR, np.repeat(grey, 3, 2), 2, CPU, 64, 9, silent)
    one = upscale_picture(GENERATOR, Picture(grey), CPU, 64, silent).colour[..., 0]
    # Clamping each channel before taking their mean is the only difference.
    inside = ((colour > 0) & (colour < 255)).all(2)
    assert inside.sum() > 20
    assert np.abs(colour.mean(2) - one)[inside].max() <= 1


def test_a_folder_is_mirrored_and_broken_files_are_listed(tmp_path):
    write_images(tmp_path / "in", 2, 8, 9)
    write_images(tmp_path / "in" / "sub ü", 1, 8, 9, ".jpg")
    (tmp_path / "in" / "broken.png").write_text("no")
    pairs = plan_pictures(tmp_path / "in", tmp_path / "out", overwrite=False)
    summary = upscale_pictures(GENERATOR, pairs, CPU, 64, lambda path: silent)
    assert [error.path.name for error in summary.skipped] == ["broken.png"]
    broken = [pair for pair in pairs if pair[0].name == "broken.png"]
    with pytest.raises(UserError, match="no picture could be upscaled: .*broken.png"):
        upscale_pictures(GENERATOR, broken, CPU, 64, lambda path: silent)
    written = sorted(str(p.relative_to(tmp_path / "out")) for p in summary.written)
    assert written == ["image0.png", "image1.png", "sub ü/image0.jpg"]
    with Image.open(tmp_path / "out" / "sub ü" / "image0.jpg") as image:
        assert image.size == (18, 16)
    assert read_picture(summary.written[0]).colour.shape == (16, 18, 3)


@pytest.mark.parametrize(
    ("source", "destination", "overwrite", "message"),
    [
        ("in/image0.png", "in/image0.png", True, "would replace its own source"),
        ("in", "in", True, "would replace its own source"),
        ("in/image0.png", "there.png", False, "exists already; .*--overwrite"),
        ("in", "there.png", True, "is a file, and"),
        ("none.png", "out.png", False, "no such file"),
        ("in/image0.png", "out.gif", False, "cannot write '.gif'"),
    ],
)
def test_plans_that_cannot_be(tmp_path, source, destination, overwrite, message):
    write_images(tmp_path / "in", 1)
    (tmp_path / "there.png").touch()
    with pytest.raises(UserError, match=message):
        plan_pictures(tmp_path / source, tmp_path / destination, overwrite=overwrite)


def test_plans(tmp_path):
    (source,) = write_images(tmp_path / "in", 1)
    (there,) = write_images(tmp_path / "in" / "out", 1)
    new = tmp_path / "new" / "image0.png"
    assert plan_pictures(source, tmp_path / "new", overwrite=False) == [(source, new)]
    assert plan_pictures(source, there, overwrite=True) == [(source, there)]
    assert plan_pictures(source, there, overwrite=False, skip_existing=True) == []
    # What is only read becomes a PNG, and takes no other's name.
    Image.new("RGB", (3, 2)).save(tmp_path / "image0.tga")
    assert plan_pictures(tmp_path / "image0.tga", tmp_path / "new", overwrite=False) == [
        (tmp_path / "image0.tga", tmp_path / "new" / "image0.tga.png")
    ]
    # A destination inside the source is not upscaled again.
    assert plan_pictures(tmp_path / "in", there.parent, overwrite=True) == [(source, there)]


def test_what_would_be_too_large_for_its_format_is_skipped(tmp_path):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (8192, 1)).save(tmp_path / "in" / "long.webp")
    write_images(tmp_path / "in", 1, 8, 9)
    pairs = plan_pictures(tmp_path / "in", tmp_path / "out", overwrite=False)
    tiles = []
    summary = upscale_pictures(
        GENERATOR, pairs, CPU, 6, lambda path: lambda *done: tiles.append((path.name, *done))
    )
    assert "16384 pixels a side, .webp ends at 16383" in str(summary.skipped[0])
    assert [path.name for path in summary.written] == ["image0.png"]
    assert tiles == [("image0.png", done, 4) for done in (1, 2, 3, 4)]


MEMORY_SCRIPT = """
import resource, sys
import numpy as np
import torch
from pathlib import Path
from PIL import Image
from counterpoise.config import GeneratorConfig
from counterpoise.models.generator import build_generator
from counterpoise.upscale import plan_pictures, upscale_pictures
source, target, width, height = Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])
row = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
Image.fromarray(row).save(source)
del row
generator = build_generator(GeneratorConfig(width=8, blocks=0)).eval().requires_grad_(False)
pairs = plan_pictures(source, target, overwrite=False)
upscale_pictures(generator, pairs, torch.device("cpu"), 128, lambda path: lambda done, total: None)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_forty_megapixels_fit_in_4_gib(tmp_path, suffix):
    """A 40-megapixel input, a 640-megapixel output; the network's own share is that of a tile."""
    paths = [str(tmp_path / "in.png"), str(tmp_path / f"out{suffix}")]
    result = subprocess.run(
        [sys.executable, "-c", MEMORY_SCRIPT, *paths, "7936", "5120"],
        check=True,
        capture_output=True,
        text=True,
    )
    gib = float(result.stdout.split()[-1])
    print(f"peak {gib:.2f} GiB")  # noqa: T201
    assert gib < 4
