"""The paper's figures for the variants that a run may be of, and how a run differs from them."""

from dataclasses import dataclass

from counterpoise.config import RunConfig
from counterpoise.config_file import load_config
from counterpoise.run_folder import BICUBIC

SOURCE = (
    "Sajjadi, Schoelkopf, Hirsch: EnhanceNet (ICCV 2017, arXiv 1612.07919), the table of its "
    "variants by their losses (table 1)"
)
PROVENANCE = (
    "How sure these figures are: ENet-PAT's on Set5, Set14 and BSD100 agree within 0.01 dB with "
    "the authors' published weights run by counterpoise. The others, and the table's number, are "
    "quoted second-hand and were not checked against the print."
)
SETS = ("Set5", "Set14", "BSD100", "Urban100")
# PSNR in dB on luma, x4, 4 pixels of border cropped.
PSNR_Y = {
    BICUBIC: (28.42, 26.00, 25.96, 23.14),
    "ENet-E": (31.74, 28.42, 27.50, 25.66),
    "ENet-P": (28.28, 25.64, 24.73, 23.75),
    "ENet-EA": (28.15, 25.94, 25.71, 23.56),
    "ENet-PA": (27.20, 24.93, 24.19, 22.51),
    "ENet-EAT": (29.26, 26.53, 25.97, 24.16),
    "ENet-PAT": (28.56, 25.77, 24.93, 23.54),
}
# What makes a network and its losses a variant's; how long it is trained is another matter.
COMPARED = (
    "generator.scale",
    "generator.width",
    "generator.blocks",
    "generator.degradation",
    "discriminator.name",
    "discriminator.width",
    "discriminator.norm",
    "data.crop_px",
    "loss.pixel.weight",
    "loss.perceptual.layers",
    "loss.texture.layers",
    "loss.adversarial.form",
    "loss.adversarial.weight",
    "features.normalisation",
    "balance.policy",
    "train.batch_size",
)
SCALE = 4


@dataclass(frozen=True)
class PaperRows:
    """The rows to show beside a run's metrics."""

    variant: str
    rows: list[tuple[str, tuple[float, ...]]]
    differences: list[str]  # of the run from the variant, in words


def paper_rows(config: RunConfig, features_note: str = "") -> PaperRows | None:
    """The paper's rows, where a run has a variant's losses and scale; else None.

    `features_note`: what the run's events say that its feature network is.
    """
    variant = f"ENet-{config.loss.letters}"
    if variant not in PSNR_Y or config.generator.scale != SCALE:
        return None
    preset = load_config(variant.lower())
    differences = []
    for path in COMPARED:
        ours, theirs = _at(config, path), _at(preset, path)
        if ours != theirs and not _without_d(config, path):
            differences.append(f"{path}: {ours} instead of {theirs}")
    if config.loss.needs_features and "not VGG" in features_note:
        differences.append(f"{features_note} instead of VGG-19")
    if not config.data.folders:
        differences.append("trained on the photographs inside scikit-image instead of MSCOCO")
    return PaperRows(variant, list(PSNR_Y.items()), differences)


def _at(config: RunConfig, path: str) -> object:
    node: object = config
    for key in path.split("."):
        node = getattr(node, key)
    return node


def _without_d(config: RunConfig, path: str) -> bool:
    """Whether a difference says nothing, since the run has no D."""
    return path.startswith(("discriminator.", "balance.")) and not config.loss.adversarial.weight
