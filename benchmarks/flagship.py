"""ENet-PAT at real size, in several variants, on one GPU: what a machine with one runs first.

    python benchmarks/flagship.py --data ../shared/data --out runs/flagship

Every variant goes on from the same E network and trains for an equal share of `--minutes`; a run
that is there goes on where it was interrupted. Then all of them, the E network and the authors'
weights (where the data folder has them) are scored on Set5, Set14, BSD100 and Urban100:
`scores.csv` has a row per image, `pictures` what each network makes of Set5 and Set14, and the
table is printed. "PT" without A is among the variants: the adversarial term has to earn its place
against it.
"""

import argparse
import csv
import signal
import subprocess
import sys
from pathlib import Path

from counterpoise.metrics.niqe import why_no_niqe
from measuring import report

COMMAND = [sys.executable, "-m", "counterpoise"]
# VGG-19 files end before pool5 often enough; what stands in for it is said in the preset's name.
LAYERS = "loss.perceptual.layers={pool2: 0.2, pool3: 0.02}"
NO_POLICY = "balance.policy=none"
UNET = "discriminator={name: unet, norm: spectral, width: 64}"
INSTANCE = "discriminator={norm: instance}"
VARIANTS: dict[str, list[str]] = {
    "pt": [NO_POLICY, "loss.adversarial.weight=0"],
    "pat": [NO_POLICY],
    "pat-instance": [NO_POLICY, INSTANCE, "loss.adversarial.weight=0.5"],
    "pat-instance-auto": ["balance.policy=auto", INSTANCE, "loss.adversarial.weight=0.5"],
    "pat-unet": [NO_POLICY, UNET, "loss.adversarial.weight=0.5"],
    "pat-unet-auto": ["balance.policy=auto", UNET, "loss.adversarial.weight=0.5"],
}
PICTURED = ("Set5", "Set14")
METRICS = ["psnr", "ssim", "sliced_wasserstein"]
# As the authors published it, and our file made from it.
OFFICIAL, IMPORTED = "enet_pat_official.tfckpt_v1", "enet-pat-official.safetensors"


def train(folder: Path, overrides: list[str], seconds: float) -> None:
    """Train, or go on, for so many seconds; an interrupt ends it with a checkpoint."""
    if (folder / "config.yaml").exists():
        command = [*COMMAND, "resume", str(folder)]
    else:
        sets = [word for item in overrides for word in ("--set", item)]
        command = [*COMMAND, "train", "--preset", "enet-pat", "--run-dir", str(folder), *sets]
    process = subprocess.Popen(command)  # noqa: S603
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        code = process.wait()
    if code not in (0, 130):
        sys.exit(f"{folder.name}: training ended with exit code {code}")


def score(weights: list[Path], sets: list[Path], out: Path) -> dict[str, dict[str, float]]:
    """Means over the images, by "set, method" and metric; NIQE where its model is at hand."""
    if why := why_no_niqe():
        print(f"no NIQE: {why}")
    metrics = METRICS if why else [*METRICS, "niqe"]
    subprocess.run(  # noqa: S603
        [
            *(*COMMAND, "evaluate", "--metrics", ",".join(metrics)),
            *(word for path in weights for word in ("--weights", str(path))),
            *("--data", *map(str, sets)),
            *("--csv", str(out / "scores.csv")),
        ],
        check=True,
    )
    with (out / "scores.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.pop("image") == "mean"]
    return {
        f"{row.pop('set')}, {row.pop('method')}": {
            name: float(value) for name, value in row.items() if value
        }
        for row in rows
    }


def draw(weights: list[Path], sets: list[Path], folder: Path) -> None:
    """Every network's outputs on the LR images of the small sets."""
    for path in weights:
        for hr in sets:
            lr = hr.parent / "LR_bicubic_x4"
            if hr.parent.name in PICTURED and lr.is_dir():
                out = folder / path.stem / hr.parent.name
                command = [*COMMAND, "upscale", str(lr), str(out), "--weights", str(path)]
                subprocess.run([*command, "--skip-existing"], check=True)  # noqa: S603


def main() -> None:
    """Train, score and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="train/, benchmark/, weights/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.0, help="of training, over all variants")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    weights = given.data / "weights"
    sets = sorted(given.data.glob("benchmark/*/HR"))
    start = sorted(weights.glob("enet_e_*.safetensors"))
    vgg = sorted(weights.glob("vgg19_to_*.safetensors"))
    if not (start and vgg and sets):
        sys.exit(f"{given.data}: needs weights/enet_e_*, weights/vgg19_to_* and benchmark/*/HR")
    common = [
        *(f"data.folders=[{given.data / 'train' / 'BSDS400'}]", LAYERS),
        *(f"features.weights={vgg[0]}", f"train.initial_weights={start[0]}"),
        # The Caffe weights, as most files of so few layers are.
        "features.input_scaling=caffe",
        *("train.precision=bf16-mixed", "train.checkpoint_every=2000", *given.set),
    ]
    runs = [given.out / name for name in given.variants]
    for run in runs:
        train(run, [*common, *VARIANTS[run.name]], 60 * given.minutes / len(runs))
    official = [given.out / IMPORTED] if (weights / OFFICIAL).exists() else []
    for path in official:
        command = [*COMMAND, "import-weights", str(weights / OFFICIAL), "--output", str(path)]
        subprocess.run(command, check=True)  # noqa: S603
    scores = score([start[0], *official, *runs], sets, given.out)
    draw([start[0], *official, *runs], sets, given.out / "pictures")
    settings = {name: str(value) for name, value in vars(given).items()}
    report("flagship", settings, scores)


if __name__ == "__main__":
    main()
