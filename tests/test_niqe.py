"""NIQE: its parts against what they are fitted to, the whole against the authors' MATLAB code."""

import types

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from counterpoise.data.resize import imresize
from counterpoise.errors import UserError
from counterpoise.evaluate.measures import MEASURES
from counterpoise.metrics import niqe
from counterpoise.metrics.functional import to_luma
from helpers import smooth_pixels


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Where torch.hub's folder has the model; no package has it."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(niqe, "find_spec", lambda name: None)
    niqe.niqe_model.cache_clear()
    (tmp_path / "checkpoints").mkdir()
    yield tmp_path / "checkpoints" / niqe.MODEL_FILE
    niqe.niqe_model.cache_clear()


def textured(seed, height=192, width=288):
    """Luma (1, 1, H, W) with texture on all scales."""
    noise = np.random.default_rng(seed).normal(size=(height, width))
    pixels = smooth_pixels(seed, height, width)[..., 0] / 255 * 0.6 + 0.2 + 0.05 * noise
    return torch.from_numpy(pixels.clip(0, 1))[None, None]


def model_of(luma):
    features = niqe.block_features((luma[0, 0].numpy() * 255).round())
    return niqe.NiqeModel(features.mean(0), np.cov(features, rowvar=False))


def test_matlab_s_value_of_baboon(shared_data):
    """BasicSR's documentation has what the authors' code gives in MATLAB R2021a: 5.72957338."""
    if niqe.why_no_niqe():
        pytest.skip(niqe.why_no_niqe())
    with Image.open(shared_data / "benchmark" / "Set14" / "HR" / "img_001.png") as image:
        pixels = np.array(image.convert("RGB"))
    rgb = torch.from_numpy(pixels).permute(2, 0, 1)[None].double() / 255
    assert niqe.niqe_model()(to_luma(rgb)) == pytest.approx(5.72957338, abs=1e-5)


@pytest.mark.parametrize("shape", [0.6, 1.0, 2.0])
def test_a_generalised_gaussian_s_shape_and_scales_are_found(shape):
    values = stats.gennorm(shape, scale=3.0).rvs((2, 200_000), random_state=0)
    values[1] *= np.where(values[1] > 0, 2, 1)
    found, left, right = niqe.generalised_gaussian(values)
    assert found[0] == pytest.approx(shape, rel=0.03)
    assert (left[0], right[0]) == pytest.approx((3.0, 3.0), rel=0.03)
    assert right[1] / left[1] == pytest.approx(2, rel=0.03)


def test_half_the_size_is_imresize_inside():
    image = np.random.default_rng(0).uniform(0, 255, (24, 40))
    inside = slice(2, -2)
    expected = imresize(image, (12, 20))
    halved = niqe.halved(image)
    np.testing.assert_allclose(halved[inside, inside], expected[inside, inside], rtol=1e-5)
    assert niqe.halved(np.full((6, 8), 7.0)) == pytest.approx(np.full((3, 4), 7.0))


def test_an_image_is_as_natural_as_those_it_is_compared_with():
    luma = textured(0)
    measure = model_of(luma)
    assert measure(luma) == pytest.approx(0, abs=1e-6)
    blurred = torch.nn.functional.avg_pool2d(luma, 5, 1, padding=2, count_include_pad=False)
    assert measure(blurred) > 2 * measure(textured(1)) > 0


def test_what_is_left_of_whole_blocks_does_not_count():
    luma = textured(0)
    larger = torch.nn.functional.pad(luma, (0, 95, 0, 95), value=1.0)
    assert niqe.block_features(larger[0, 0].numpy() * 255).shape == (6, niqe.FEATURES)


def test_a_flat_image_has_no_value():
    measure = model_of(textured(0))
    assert np.isnan(measure(torch.full((1, 1, 192, 192), 0.5)))


def test_the_model_is_read_where_it_is(hub, monkeypatch, tmp_path):
    for part in ("pip install --no-deps basicsr", str(hub)):
        assert part in MEASURES["niqe"].why_not()
    with pytest.raises(UserError, match="basicsr"):
        niqe.niqe_model()
    # Of an installed BasicSR, which is not imported.
    package = tmp_path / "basicsr"
    (package / "metrics").mkdir(parents=True)
    spec = types.SimpleNamespace(origin=str(package / "__init__.py"))
    monkeypatch.setattr(niqe, "find_spec", lambda name: spec if name == "basicsr" else None)
    assert MEASURES["niqe"].why_not()
    mean, covariance = np.arange(36.0)[None], np.eye(36)
    for file in (package / "metrics" / niqe.MODEL_FILE, hub):
        np.savez(file, mu_pris_param=mean, cov_pris_param=covariance)
        niqe.niqe_model.cache_clear()
        assert MEASURES["niqe"].why_not() == ""
        assert np.array_equal(niqe.niqe_model().mean, mean[0])
        file.unlink()


def test_another_file_in_its_place_is_one_line(hub):
    hub.write_bytes(b"<html>not found</html>")
    for mean in (None, np.zeros(3), np.array([{}], dtype=object)):
        if mean is not None:
            np.savez(hub, mu_pris_param=mean, cov_pris_param=np.eye(36))
        with pytest.raises(UserError, match="does not hold NIQE's model"):
            niqe.niqe_model()
