"""Builds what a training works with from its configuration."""

import copy
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from counterpoise.balance.policies import build_policy
from counterpoise.balance.policy import Policy
from counterpoise.config import (
    AdamConfig,
    DegradationConfig,
    FeaturesConfig,
    RunConfig,
    Switch,
    TrainConfig,
)
from counterpoise.data.catalog import Catalog, scan
from counterpoise.data.dataset import CropPairs, Pair, central_crops, central_part
from counterpoise.data.device_crops import DeviceCrops
from counterpoise.data.sampler import batches, shares
from counterpoise.errors import UserError, refusing
from counterpoise.losses.adversarial import ADVERSARIAL_FORMS, AdversarialForm
from counterpoise.losses.generator_loss import FeatureFunction
from counterpoise.models import features as extractors
from counterpoise.models.discriminator import build_discriminator
from counterpoise.models.foreign import SPANDREL, check_range, load_published
from counterpoise.models.generator import Generator, build_generator
from counterpoise.models.weights import is_ours, load_generator
from counterpoise.seeding import seed_everything
from counterpoise.training.cuda_graphs import ReplayedPasses, accelerated

# Crops whose mean activations stand for the data set's in `features.normalisation: dataset`.
CALIBRATION_CROPS = 64
CALIBRATION_BATCH = 8
SAMPLE_CROPS = 4
SAMPLE_PX = 192
# Of a GPU's free memory, for images: networks and their activations need the rest.
MOST_OF_FREE_MEMORY = 0.25

Pairs = list[tuple[str, np.ndarray, np.ndarray]]
Placed = TypeVar("Placed", bound=nn.Module)


@dataclass(frozen=True)
class Networks:
    """The networks of a training, on their device."""

    g: nn.Module
    g_average: Generator
    d: nn.Module | None
    features: extractors.FeatureExtractor | None
    # As the steps run g, d and features; sensors, penalties and evaluations use the modules.
    run_g: Callable[[Tensor], Tensor]
    run_d: Callable[[Tensor], Tensor] | None
    run_features: FeatureFunction | None

    def modules(self) -> dict[str, nn.Module]:
        """All whose state a step changes, by the names that checkpoints have."""
        modules: dict[str, nn.Module] = {"g": self.g, "g_average": self.g_average}
        return modules if self.d is None else modules | {"d": self.d}

    @property
    def replayed(self) -> list[ReplayedPasses]:
        """Passes that are replayed from CUDA graphs."""
        return [own for own in vars(self).values() if isinstance(own, ReplayedPasses)]


@dataclass
class Parts:
    """What a training is made of."""

    config: RunConfig
    fabric: Fabric
    dataset: CropPairs
    # Cuts the crops of `dataset` on the device; None where the host does.
    device_crops: DeviceCrops | None
    # Images that nothing is trained on: to be measured, and shown.
    held_out: Pairs
    samples: Pair
    # Crops of such images, this process's share: (N, 3, H, W) in [0, 1].
    held_out_crops: Tensor
    networks: Networks
    d_optimizer: torch.optim.Optimizer | None
    form: AdversarialForm
    policy: Policy
    scaler: torch.amp.GradScaler  # of losses, disabled but with 16-mixed
    # What a person must know: fallbacks, skipped images.
    notes: list[str]
    # Of the images, and of the loss network where there is one: a resumed training has the same.
    fingerprints: dict[str, str]
    # Of the weights that G began with: what comes of them is under it too.
    licence: str = ""


class Batches:
    """This process's batches of LR and HR crops, float32 in [0, 1], on its device, in order."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        # How many were drawn. A resumed training sets it before it draws any.
        self.drawn = 0
        self._batches: Iterator[Pair] | None = None
        # Crops from the device come channels last.
        self._layout = memory_format(parts.config.train, parts.fabric.device)

    def next(self) -> Pair:
        """The next batch: LR (N, 3, h, w), HR (N, 3, H, W)."""
        parts, fabric = self._parts, self._parts.fabric
        if self._batches is None:
            batch_size, threads = parts.config.train.batch_size, parts.config.data.worker_threads
            positions = shares(batch_size, fabric.global_rank, fabric.world_size, self.drawn)
            if parts.device_crops is not None:
                self._batches = map(parts.device_crops.batch, positions)
            else:
                self._batches = batches(parts.dataset, positions, threads)
        self.drawn += 1
        lr, hr = (
            x.to(fabric.device, non_blocking=True)
            .float()
            .div_(255)
            .contiguous(memory_format=self._layout)
            for x in next(self._batches)
        )
        return lr, hr


def is_enabled(switch: Switch, device: torch.device) -> bool:
    """Whether a means of speed is used: as the configuration says, or where it helps."""
    return switch == "always" or (switch == "auto" and device.type == "cuda")


def memory_format(train: TrainConfig, device: torch.device) -> torch.memory_format:
    """How weights and images lie in memory."""
    last = is_enabled(train.channels_last, device)
    return torch.channels_last if last else torch.contiguous_format


def placed(module: Placed, train: TrainConfig, device: torch.device) -> Placed:
    """A module on the device, its 4-D weights in the memory format of a training."""
    layout = memory_format(train, device)
    return module.to(device).to(memory_format=layout)  # type: ignore[call-overload]


def fits_on_device(images: Catalog, config: RunConfig, free_bytes: int) -> bool:
    """Whether all images and their low-resolution twins may be kept on a GPU with so much free."""
    hr_bytes = sum(image.pixels.hr.nbytes for image in images.images if image.pixels)
    needed = hr_bytes * (1 + 1 / config.generator.scale**2)
    if config.generator.degradation.name == "real-esrgan":
        return False  # every crop has an LR of its own, which the host makes
    room = min(config.data.device_cache_mib * 2**20, free_bytes * MOST_OF_FREE_MEMORY)
    return images.in_memory and needed <= room


def build_parts(config: RunConfig, fabric: Fabric, *, downloads: bool = True) -> Parts:
    """Everything a training needs, from the seed on; VGG-19 is downloaded where it is missing and
    `downloads`."""
    seed_everything(config.train.seed)
    training_images, held_out = scan(config.data, config.generator.scale)
    dataset = crop_pairs(training_images, config)
    notes = [training_images.description, f"held out: {held_out.description}"]
    notes += [f"skipped {item}" for item in (*training_images.skipped, *held_out.skipped)]
    degradation, most_px = config.generator.degradation, config.data.held_out_px // held_out.scale
    samples = central_crops(held_out, degradation, SAMPLE_PX, SAMPLE_CROPS)
    device, train = fabric.device, config.train
    device_crops = None
    free_bytes = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
    if free_bytes and fits_on_device(training_images, config, free_bytes):
        device_crops = DeviceCrops(dataset, device)
        notes.append("crops are cut on the GPU, where the images are kept")
    g_config = config.generator
    if config.data.lr_folders:
        paired = DegradationConfig(name="paired")
        g_config = g_config.model_copy(update={"degradation": paired})
    g = placed(build_generator(g_config), train, device)
    d = None
    if config.loss.adversarial.weight:
        d = placed(build_discriminator(config.discriminator, config.data.crop_px), train, device)
    features = None
    fingerprints = {"images": images_fingerprint(training_images, held_out)}
    if config.loss.needs_features:
        features, feature_notes = build_features(config, dataset, device, downloads=downloads)
        notes += feature_notes
        fingerprints["features"] = features_fingerprint(features)
    networks = Networks(
        g,
        copy.deepcopy(g).eval().requires_grad_(False),
        d,
        features,
        accelerated(g, "G", 1, train, device),
        # Passes on real and on fake images wait together.
        accelerated(d, "D", 2, train, device),
        accelerated(features, "the features", 2, train, device),
    )
    fused = is_enabled(train.fused_adam, device)
    return Parts(
        config=config,
        fabric=fabric,
        dataset=dataset,
        device_crops=device_crops,
        held_out=[
            (name, *central_part(lr, hr, most_px)) for name, lr, hr in held_out.pairs(degradation)
        ],
        samples=(samples[0].to(device), samples[1].to(device)),
        held_out_crops=held_out_crops(held_out, config, fabric),
        networks=networks,
        d_optimizer=None if d is None else adam(d.parameters(), config.optimizer.d, fused=fused),
        form=ADVERSARIAL_FORMS[config.loss.adversarial.form],
        scaler=torch.amp.GradScaler(device.type, enabled=train.precision == "16-mixed"),
        policy=build_policy(config.balance.policy, config.balance.options),
        notes=notes,
        fingerprints=fingerprints,
    )


def take_initial_weights(parts: Parts) -> None:
    """Let G begin with `train.initial_weights`, where that is set; `UserError` where it cannot."""
    path, source = parts.config.train.initial_weights, parts.config.generator.source or ""
    g, g_average = parts.networks.g, parts.networks.g_average
    if path is None:
        if source.startswith(SPANDREL):
            check_range(g_average)
            parts.notes.append(f"G begins with {source.removeprefix(SPANDREL)}")
        return
    parts.notes.append(f"G begins with {path}")
    with refusing("train.initial_weights", Exception):
        is_tensors = path.suffix == ".safetensors"
        if path.is_file() and not (is_tensors and is_ours(path)):
            load_published(g_average, path)
            g.load_state_dict(g_average.state_dict())
            return
        loaded = load_generator(path)
    for (name, own), (_, theirs) in zip(
        parts.config.generator, loaded.generator.config, strict=True
    ):
        if own != theirs and name != "degradation":
            why = f"of another generator, {name} is {theirs} there and {own} here"
            raise UserError(f"train.initial_weights {path}: {why}; set generator.{name} to it")
        if own != theirs:
            parts.notes.append(f"G was trained on {theirs} images before, and is on {own} ones now")
    for network in (g, g_average):
        network.load_state_dict(loaded.generator.state_dict())
    parts.licence = loaded.metadata.get("licence", "")
    if parts.licence:
        parts.notes.append(f"these weights, and what is made of them, are under {parts.licence}")


def adam(
    parameters: Iterable[Tensor], config: AdamConfig, *, fused: bool = False
) -> torch.optim.Adam:
    """A fresh Adam for these parameters; `fused` updates all of them in one kernel."""
    optimizer = torch.optim.Adam(
        parameters,
        lr=config.learning_rate,
        betas=config.betas,
        eps=config.epsilon,
        weight_decay=config.weight_decay,
        fused=fused or None,
    )
    optimizer.register_load_state_dict_post_hook(_lay_out_as_weights)
    return optimizer


def _lay_out_as_weights(optimizer: torch.optim.Optimizer) -> None:
    """Give loaded moments the memory format of their weights, which a fused step takes for granted
    (checkpoints hold everything in the default one)."""
    for weight, state in optimizer.state.items():
        for name, value in state.items():
            if value.shape == weight.shape and value.stride() != weight.stride():
                state[name] = torch.empty_like(weight).copy_(value)


def build_features(
    config: RunConfig, dataset: CropPairs, device: torch.device, *, downloads: bool
) -> tuple[extractors.FeatureExtractor, list[str]]:
    """The loss network, measured on the data set where that is asked for, and what to say of it."""
    layers = [*config.loss.perceptual.layers, *config.loss.texture.layers]
    features, notes = _extractor(config.features, layers, downloads=downloads)
    features.check_layers(layers)
    features = placed(features, config.train, device)
    if config.features.normalisation == "dataset":
        batches_of_hr = (
            torch.stack([dataset[first + n][1] for n in range(CALIBRATION_BATCH)])
            for first in range(0, CALIBRATION_CROPS, CALIBRATION_BATCH)
        )
        features.calibrate((hr.to(device).float() / 255 for hr in batches_of_hr), layers)
    return features, notes


def _extractor(
    wanted: FeaturesConfig, layers: Sequence[str], *, downloads: bool
) -> tuple[extractors.FeatureExtractor, list[str]]:
    notes, words = [], ""
    if wanted.extractor != "embedded":
        try:
            vgg = extractors.load_vgg19(
                wanted.weights, wanted.input_scaling, layers, downloads=downloads
            )
            return vgg, [f"features: {vgg.description}"]
        except extractors.VGGNotFoundError as error:
            if wanted.extractor == "vgg19" and downloads:
                raise
            notes, words = [f"VGG-19 is not here ({error})"], "; the results are not the paper's"
    embedded = extractors.embedded_extractor()
    return embedded, [*notes, f"features: {embedded.description}{words}"]


def crop_pairs(images: Catalog, config: RunConfig) -> CropPairs:
    """Crops of images as the training cuts them."""
    g, data, seed = config.generator, config.data, config.train.seed
    return CropPairs(images, g.scale, g.degradation, data.crop_px, seed, data.flips, data.rotations)


def held_out_crops(held_out: Catalog, config: RunConfig, fabric: Fabric) -> Tensor:
    """This process's share of `sensors.held_out_crops`, cut as training crops are."""
    crops = crop_pairs(held_out, config)
    share = -(-config.sensors.held_out_crops // fabric.world_size)
    first = fabric.global_rank * share
    chosen = [crops[position][1] for position in range(first, first + share)]
    return torch.stack(chosen).to(fabric.device).float() / 255


def features_fingerprint(features: extractors.FeatureExtractor) -> str:
    """Changes with the weights of a loss network."""
    # (Earlier versions computed the bank, with roundings of their own.)
    if features.description == extractors.EMBEDDED:
        return "embedded"
    return _short_hash(w.cpu().numpy().tobytes() for _, w in sorted(features.state_dict().items()))


def images_fingerprint(*catalogs: Catalog) -> str:
    """Changes where a name or the size of a file does, in any of the catalogs."""
    lines = []
    for catalog in catalogs:
        for image in catalog.images:
            paths = [path for path in (image.hr_path, image.lr_path) if path is not None]
            lines.append(f"{image.name} {[path.stat().st_size for path in paths]}")
        lines.append("")
    return _short_hash(line.encode() for line in lines)


def _short_hash(parts: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(part + b"\n" for part in parts)).hexdigest()[:16]
