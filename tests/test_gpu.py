"""What only a GPU can show; `pytest -m gpu` on a machine with one."""

import pytest
import torch

from counterpoise.config import DataConfig, DegradationConfig, GeneratorConfig
from counterpoise.data.catalog import scan
from counterpoise.data.dataset import CropPairs
from counterpoise.data.device_crops import DeviceCrops
from counterpoise.data.images import Picture
from counterpoise.models.generator import build_generator
from counterpoise.run_folder import RunFolder
from counterpoise.training.cuda_graphs import ReplayedPasses
from counterpoise.upscale import upscale_picture
from helpers import smooth_pixels, write_images
from training_helpers import events, run, signals, tiny, weights

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
    pytest.mark.filterwarnings("default"),  # the compiler's differ between versions
]

CUDA = "train.accelerator=cuda"
ON_CPU = "train.accelerator=cpu"


def test_a_step_is_the_cpu_s_within_rounding(tmp_path):
    options = ("loss.perceptual.layers={pool2: 0.2}", "loss.adversarial.r1=1")
    run(tiny(*options, ON_CPU), tmp_path / "cpu")
    run(tiny(*options, CUDA), tmp_path / "cuda")
    for cpu, cuda in zip(signals(tmp_path / "cpu"), signals(tmp_path / "cuda"), strict=True):
        assert cuda["g_loss"] == pytest.approx(cpu["g_loss"], rel=2e-2)
        if "d_real" in cpu:
            assert cuda["d_real"] == pytest.approx(cpu["d_real"], rel=2e-2, abs=1e-2)
    assert any("cut on the GPU" in message for message in events(tmp_path / "cuda"))


@pytest.mark.parametrize("policy", ["none", "auto", "ada", "instance-noise"])
@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_every_kind_of_policy_trains_in_16_bits(tmp_path, policy, precision):
    run(tiny(CUDA, f"train.precision={precision}", f"balance.policy={policy}"), tmp_path / "run")
    rows = signals(tmp_path / "run")
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    assert all(row["g_loss"] == row["g_loss"] for row in rows)


# Without normalisation in D: over batches as small as these it makes rounding errors large.
REPLAYED = {
    "threshold": ["balance.policy=threshold"],
    "late-numbers": ["balance.policy=none"],
    "several-each": ["balance={policy: ratio, options: {d_steps: 2, g_steps: 3}}"],
    "relativistic": ["loss.adversarial={form: relativistic-average, weight: 0.1, r1: 1}"],
}


@pytest.mark.parametrize("options", REPLAYED.values(), ids=REPLAYED)
def test_replayed_passes_train_alike(tmp_path, monkeypatch, options):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    settings = (
        CUDA,
        "loss.perceptual.layers={pool2: 0.2}",
        "sensors={every: 2, probes_every: 3}",
        *options,
    )
    run(tiny(*settings, "train.cuda_graphs=never"), tmp_path / "eager")
    run(tiny(*settings), tmp_path / "replayed")
    pairs = zip(signals(tmp_path / "eager"), signals(tmp_path / "replayed"), strict=True)
    for eager, replayed in pairs:
        assert replayed["g_loss"] == pytest.approx(eager["g_loss"], rel=1e-3)
        for name in ("d_real", "d_fake_after", "g_gradient_norm", "d_update_ratio"):
            if name in eager:
                # Adam makes much of the rounding of D's tiny gradients.
                rel = 0.1 if name == "d_update_ratio" else 1e-2
                assert replayed[name] == pytest.approx(eager[name], rel=rel), name
    assert events(tmp_path / "replayed", "fallback") == []


def test_an_interrupted_run_goes_on(tmp_path):
    run(tiny(CUDA), tmp_path / "run")
    whole = weights(tmp_path / "run")
    RunFolder(tmp_path / "run").checkpoint(8).unlink()
    run(tiny(CUDA), tmp_path / "run", resume=True)
    for name, value in weights(tmp_path / "run").items():
        # Kernels that add atomically do not give the same bits twice.
        torch.testing.assert_close(value, whole[name], rtol=1e-2, atol=1e-4)


def test_images_are_cut_without_waiting_for_the_host(tmp_path):
    write_images(tmp_path, 4)
    images = scan(DataConfig(folders=(tmp_path,), crop_px=32, held_out_images=1), 4)[0]
    dataset = CropPairs(images, 4, DegradationConfig(), 32, 0, True, True)
    crops = DeviceCrops(dataset, torch.device("cuda"))
    torch.cuda.set_sync_debug_mode("error")
    try:
        lr, hr = crops.batch(range(16))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for row in range(16):
        assert lr[row].cpu().equal(dataset[row][0])
        assert hr[row].cpu().equal(dataset[row][1])


def test_upscaling_is_the_cpu_s_within_a_grey_level(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)
    generator = build_generator(GeneratorConfig(width=16)).eval()
    picture = Picture(smooth_pixels(0, 70, 90), None, None, [])
    cpu, cuda = (
        upscale_picture(
            generator.to(device), picture, torch.device(device), 32, lambda done, total: None
        ).colour.astype(int)
        for device in ("cpu", "cuda")
    )
    assert abs(cpu - cuda).max() <= 1


# The last one: up to torch 2.11 the allocator takes such a recording to go on to the process's end.
def test_a_recording_that_breaks_off_leaves_the_stream_as_it_was():
    class Waiting(torch.nn.Module):
        def forward(self, images):
            return images * images.mean().item()

    stream = torch.cuda.current_stream()
    passes = ReplayedPasses(Waiting(), "it", most_pending=1)
    images = torch.rand(2, 3, 4, 4, device="cuda")
    assert passes(images).equal(Waiting()(images))
    assert "it is not replayed" in passes.failure
    assert torch.cuda.current_stream() == stream
