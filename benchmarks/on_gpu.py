"""Everything of a GPU's in one go: run it once on a machine with one.

    python benchmarks/on_gpu.py [--preset enet-pat] [--rounds 3] [--set KEY=VALUE ...]

Ours against the bare eager float32 loop and BasicSR's order, first in plain float32, then with each
means of speed added to those before it; then the wait for data, growth and upscaling. Where
`features.weights` names no file, VGG-19 has random weights: a step takes as long with them.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

import growth
import training_speed
import upscale_speed
import waiting
from counterpoise.models.features import VGG19_LAYERS, VGG19_WIDTHS
from measuring import report

BF16 = "train.precision=bf16-mixed"
ONE_BY_ONE = "train.cuda_graphs=never"
STAGES: dict[str, list[str]] = {
    "eager float32": [ONE_BY_ONE, "train.channels_last=never", "train.fused_adam=never"],
    "+ fused Adam": [ONE_BY_ONE, "train.channels_last=never"],
    "+ channels last": [ONE_BY_ONE],
    "+ CUDA graphs (the default)": [],
    "+ bf16": [BF16],
    "+ bf16, no sensors": [BF16, training_speed.NO_SENSORS],
    "+ bf16, policy auto": [BF16, "balance={policy: auto}"],
    "+ bf16, policy none (numbers fetched at log lines)": [BF16, "balance={policy: none}"],
}


def random_vgg(folder: Path) -> Path:
    """A file of VGG-19's shapes, whose activations keep their size from layer to layer."""
    generator, tensors, inputs = torch.Generator().manual_seed(0), {}, 3
    for index, name in enumerate(VGG19_LAYERS):
        if name.startswith("conv"):
            outputs = VGG19_WIDTHS[int(name[4]) - 1]
            weight = torch.randn(outputs, inputs, 3, 3, generator=generator)
            tensors[f"features.{index}.weight"] = weight * (2 / (9 * inputs)) ** 0.5
            tensors[f"features.{index}.bias"] = torch.zeros(outputs)
            inputs = outputs
    path = folder / "random_vgg19.safetensors"
    save_file(tensors, path, {"input_scaling": "torchvision"})
    return path


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="enet-pat")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--round-steps", type=int, default=100)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("no CUDA device here")
    with tempfile.TemporaryDirectory() as folder:
        overrides = list(given.set)
        if not any(item.startswith("features.weights=") for item in overrides):
            overrides += [f"features.weights={random_vgg(Path(folder))}"]
        speed = training_speed.measure(
            given.preset, overrides, given.rounds, given.round_steps, ours=STAGES
        )
        report("gpu_training_speed", vars(given), speed)
        fast = [*overrides, BF16]
        on_host = [*fast, "data={worker_threads: 4, device_cache_mib: 0}"]
        waits = {
            "cut on the device": waiting.measure(given.preset, fast, 100),
            "cut by 4 workers": waiting.measure(given.preset, on_host, 100),
        }
        report("gpu_waiting", vars(given), waits)
        sizes = ([1, 16, 64], [64, 128, 256])
        report("gpu_growth", vars(given), growth.measure(given.preset, *sizes, fast))
    report("gpu_upscale_speed", {"megapixels": 40}, upscale_speed.measure(40, 256, 64))


if __name__ == "__main__":
    main()
