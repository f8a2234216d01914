"""The configuration of a run: every default of the project has its one home here."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from annotated_types import Len
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from counterpoise.errors import UserError
from counterpoise.objectives import OBJECTIVES, objective_name

PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
# Earlier versions had processes in their place.
Threads = Annotated[
    int, Field(ge=0, validation_alias=AliasChoices("worker_threads", "worker_processes"))
]
FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
# What is drawn from evenly, by its ends; and how likely some choices are beside each other.
Range = Annotated[tuple[NonNegativeFloat, NonNegativeFloat], AfterValidator(lambda x: _range(x))]
Quality = Annotated[int, Field(ge=1, le=100)]
Qualities = Annotated[tuple[Quality, Quality], AfterValidator(lambda x: _range(x))]
Factors = tuple[Annotated[float, Field(ge=0.05, le=1)], Annotated[float, Field(ge=1, le=4)]]
Weights = Annotated[tuple[NonNegativeFloat, ...], AfterValidator(lambda x: _weights(x))]
Colour = tuple[FiniteFloat, FiniteFloat, FiniteFloat]
# Absolute, so that a run can be resumed from anywhere.
AnyPath = Annotated[Path, AfterValidator(lambda path: Path(os.path.abspath(path)))]
Source = Annotated[str, AfterValidator(lambda text: _absolute(text))]
# How a means of speed is chosen; auto: where it helps, on a CUDA device.
Switch = Literal["auto", "always", "never"]


def _absolute(source: str) -> str:
    kind, colon, file = source.partition(":")
    return f"{kind}:{os.path.abspath(file)}" if colon else source


def _range(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"a range goes up, and {ends[0]:g} is above {ends[1]:g}")
    return ends


def _weights(weights: tuple[float, ...]) -> tuple[float, ...]:
    if not any(weights):
        raise ValueError("give at least one a weight above 0")
    return weights


def _own_name(name: str) -> str:
    try:
        return objective_name(name)
    except UserError as error:
        raise ValueError(str(error)) from None


# An objective by any of its names; kept by its own.
ObjectiveName = Annotated[
    str, AfterValidator(_own_name), WithJsonSchema({"type": "string", "enum": list(OBJECTIVES)})
]

# Mean colour of the official ENet-PAT network's inputs, RGB in [0, 1] (official inference code).
ENHANCENET_INPUT_MEAN = (0.47614917, 0.45001204, 0.40904046)


class Section(BaseModel):
    """A part of the configuration: immutable, with unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def to_yaml(self) -> str:
        """It as text, the same for the same values."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


class DegradationRound(Section):
    """Blur, resizing, noise, JPEG: what they are drawn from. Defaults: Real-ESRGAN's options."""

    blur_probability: Probability = 1.0  # that it is blurred
    sinc_probability: Probability = 0.1  # that it is by a filter that rings, else by these kernels:
    # Gaussian, generalised Gaussian, plateau; of each first isotropic, then not.
    kernel_weights: Annotated[Weights, Len(6, 6)] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    blur_sigma: Range = (0.2, 3.0)  # pixels
    generalised_beta: Range = (0.5, 4.0)  # of the generalised Gaussian: 1 is the plain one
    plateau_beta: Range = (1.0, 2.0)  # of the plateau: the higher, the steeper
    resize_weights: Annotated[Weights, Len(3, 3)] = (0.2, 0.7, 0.1)  # up, down, none
    resize_range: Factors = (0.15, 1.5)  # smallest and largest factor, of HR's size
    gaussian_noise_probability: Probability = 0.5  # else Poisson noise
    noise_sigma: Range = (1.0, 30.0)  # of Gaussian noise, in levels of 255
    poisson_scale: Range = (0.05, 3.0)  # Poisson noise is multiplied with it
    grey_noise_probability: Probability = 0.4  # that it is alike in R, G and B
    jpeg_quality: Qualities = (30, 95)  # as libjpeg counts it


class SecondDegradationRound(DegradationRound):
    """The round that follows; milder."""

    blur_probability: Probability = 0.8
    blur_sigma: Range = (0.2, 1.5)  # pixels
    resize_weights: Annotated[Weights, Len(3, 3)] = (0.3, 0.4, 0.3)  # up, down, none
    resize_range: Factors = (0.3, 1.2)  # smallest and largest factor, of LR's size
    noise_sigma: Range = (1.0, 25.0)  # of Gaussian noise, in levels of 255
    poisson_scale: Range = (0.05, 2.5)  # Poisson noise is multiplied with it


class DegradationConfig(Section):
    """How low-resolution images are made. A name alone will do; the rest is of `real-esrgan`."""

    # bicubic: MATLAB's; lanczos: Pillow's; real-esrgan: two rounds, drawn anew for each crop;
    # paired, in weights: they had files of their own (data.lr_folders).
    name: Literal["bicubic", "lanczos", "real-esrgan", "paired"] = "bicubic"
    first: DegradationRound = DegradationRound()
    second: SecondDegradationRound = SecondDegradationRound()
    final_sinc_probability: Probability = 0.8  # of a filter that rings, at LR's size
    # Unsharp masking of training's HR crops, before they are degraded, and as what G learns.
    sharpened_hr: bool = False

    def __str__(self) -> str:
        return self.name

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        return {"name": values} if isinstance(values, str) else values


class GeneratorConfig(Section):
    """A generator's architecture, and the properties that its weights are only valid with."""

    name: str = "enhancenet"  # a name from `models.generator`
    # Another program's network in its place, RGB in [0, 1] in and out: `spandrel:FILE.pth`, which
    # it begins with, or the dotted path of an nn.Module such as `my_module.MyNet`.
    source: Source | None = None
    arguments: dict[str, Any] = {}  # of that class, by name
    scale: Literal[2, 4, 8] = 4  # output pixels per input pixel, along a side
    width: PositiveInt = 64  # feature maps of a layer
    blocks: NonNegativeInt = 10  # residual blocks
    # The bicubic image that the residual is added to (the official weights need tf1-legacy).
    bicubic: Literal["half-pixel", "tf1-legacy"] = "half-pixel"
    degradation: DegradationConfig = DegradationConfig()
    input_mean: Colour = ENHANCENET_INPUT_MEAN  # subtracted from RGB in [0, 1]


class DiscriminatorConfig(Section):
    """A discriminator's architecture. All of them return logits."""

    name: str = "enhancenet"  # a name from `models.discriminator`
    width: PositiveInt = 32  # feature maps of the first layer
    # The U-Net is spectrally normalised by definition: `norm` must be "spectral" with it.
    norm: Literal["none", "batch", "instance", "spectral"] = "none"
    leaky_slope: NonNegativeFloat = 0.2  # of its leaky ReLUs
    input_mean: Colour = ENHANCENET_INPUT_MEAN  # subtracted from RGB in [0, 1]


class DataConfig(Section):
    """Training images, and how pairs of crops are cut from them."""

    # Empty: the photographs inside scikit-image's package.
    folders: tuple[AnyPath, ...] = ()
    # Paired low-resolution images (same file stems, sizes exactly 1/scale); empty: made from HR.
    lr_folders: tuple[AnyPath, ...] = ()
    # HR images for the held-out metrics and samples; empty: `held_out_images` are set aside.
    held_out_folders: tuple[AnyPath, ...] = ()
    held_out_images: PositiveInt = 4  # where there are no held_out_folders
    # Held-out images are measured on at most this large a central part.
    held_out_px: PositiveInt = 512
    # Side of the high-resolution training crop.
    crop_px: PositiveInt = 128
    # The paper's preparation: centre square crop, then resize to this side (256). Off: null.
    square_px: PositiveInt | None = None
    flips: bool = True  # mirror crops at random
    rotations: bool = True  # turn them by right angles at random
    worker_threads: Threads = 0  # that cut crops beside the training
    # Decoded images are kept in memory, as many as fit in this much.
    cache_mib: NonNegativeInt = 2048
    # Where all of them are, and fit in this much of a GPU's memory too (and in a quarter of what is
    # free), they are kept there, and crops are cut there, without worker threads; 0: never.
    device_cache_mib: NonNegativeInt = 4096

    @model_validator(mode="after")
    def _pairs_are_not_resized(self) -> Self:
        if self.lr_folders and not self.folders:
            raise ValueError("lr_folders needs folders with the high-resolution images")
        if self.lr_folders and self.square_px is not None:
            raise ValueError("square_px resizes HR images, so it cannot go with lr_folders")
        return self


class FeaturesConfig(Section):
    """The frozen network whose activations the perceptual and texture losses compare."""

    # auto: VGG-19 where its weights are found, else the embedded bank, which is then announced.
    extractor: Literal["auto", "vgg19", "embedded"] = "auto"
    # A VGG-19 file; null: torch.hub's cache, then a download of torchvision's published file.
    weights: AnyPath | None = None
    # How the VGG file wants its input; null: as recorded in the file, or known by its name.
    input_scaling: Literal["caffe", "torchvision"] | None = None
    # "Mean one" (paper, section 5.3) names no axes. dataset: every channel by its mean over
    # training images (Gatys et al. rescale VGG so); none: raw activations.
    normalisation: Literal["dataset", "none"] = "dataset"


class PixelLossConfig(Section):
    """E: squared error in image space (values in [0, 1])."""

    weight: NonNegativeFloat = 1.0  # 0: off
    # mean over values, or sum over an image (the literal squared norm) and mean over the batch.
    reduction: Literal["mean", "sum"] = "mean"


class PerceptualLossConfig(Section):
    """P: mean squared error of features; weight by layer, empty is off."""

    layers: dict[str, PositiveFloat] = {}  # weight by layer, such as {pool2: 0.2}; empty: off


class TextureLossConfig(Section):
    """T: squared error of Gram matrices of co-located patches; weight by layer, empty is off.

    Layer names choose before (conv1_1) or after (relu1_1) the ReLU.
    """

    layers: dict[str, PositiveFloat] = {}  # weight by layer, such as {pool2: 0.2}; empty: off
    patch_px: PositiveInt = 16  # side of a patch
    # Cut patches out of the feature maps, or cut the image and run the extractor on each patch.
    patches_of: Literal["features", "image"] = "features"


class AdversarialLossConfig(Section):
    """A: the adversarial game, always on logits."""

    form: ObjectiveName = "non-saturating"  # what each side minimises
    # Weight of the generator's adversarial term; 0 trains no discriminator.
    weight: NonNegativeFloat = 0.0
    # Weights gamma of gamma/2 * E|grad D|^2 on real (R1) and on fake images (R2).
    r1: NonNegativeFloat = 0.0
    r2: NonNegativeFloat = 0.0  # see r1
    # Weight lambda of (|grad D| - 1)^2 between real and fake images (WGAN-GP).
    gradient_penalty: NonNegativeFloat = 0.0
    # Penalties are computed every so many steps, scaled up by as much ("lazy regularisation").
    penalties_every: PositiveInt = 1


class LossConfig(Section):
    """What the generator is trained on, term by term."""

    pixel: PixelLossConfig = PixelLossConfig()
    perceptual: PerceptualLossConfig = PerceptualLossConfig()
    texture: TextureLossConfig = TextureLossConfig()
    adversarial: AdversarialLossConfig = AdversarialLossConfig()

    @property
    def letters(self) -> str:
        """The terms that are on, by the paper's letters: `PAT` has P, A and T."""
        terms = {
            "E": self.pixel.weight,
            "P": self.perceptual.layers,
            "A": self.adversarial.weight,
            "T": self.texture.layers,
        }
        return "".join(letter for letter, on in terms.items() if on)

    @property
    def needs_features(self) -> bool:
        return bool(self.perceptual.layers or self.texture.layers)

    @model_validator(mode="after")
    def _some_term(self) -> Self:
        if not self.letters:
            raise ValueError("every term is off: give at least one a weight above 0")
        return self


class AdamConfig(Section):
    """Adam for one network."""

    learning_rate: PositiveFloat = 1e-4  # as configured: a policy scales it
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)  # memory of gradients and of their squares
    epsilon: PositiveFloat = 1e-8  # keeps the division finite
    weight_decay: NonNegativeFloat = 0.0  # as a gradient (L2)
    # Gradients that are longer than this, over all weights together, are made so long; null: never.
    clip_norm: PositiveFloat | None = None
    # The rate rises in a straight line over so many steps of a stage, then goes by the schedule.
    warmup_steps: NonNegativeInt = 0
    # cosine: down to 0 at the stage's end; steps: times gamma after each milestone (MultiStepLR).
    schedule: Literal["constant", "cosine", "steps"] = "constant"
    milestones: tuple[PositiveInt, ...] = ()  # steps of a stage, with schedule=steps
    gamma: PositiveFloat = 0.5  # with schedule=steps

    @model_validator(mode="after")
    def _milestones_with_steps(self) -> Self:
        if bool(self.milestones) != (self.schedule == "steps"):
            raise ValueError("schedule=steps wants milestones, and no other schedule does")
        return self


class OptimizerConfig(Section):
    """Adam for either network."""

    g: AdamConfig = AdamConfig()
    d: AdamConfig = AdamConfig()


class BalanceConfig(Section):
    """Which policy keeps G and D in balance. Its options are documented at the policy."""

    policy: str = "none"  # a name from `balance.policies`
    options: dict[str, Any] = {}  # of the policy, by name


class SensorsConfig(Section):
    """What is measured beside the losses; policies see it, and so does the diagnosis."""

    # Every so many steps (0: never): gradient norms and update ratios of both networks, D on
    # held-out images, statistics of G's images.
    every: NonNegativeInt = 10
    # Every so many steps (0: never): D on fakes of 8 bits, and on images with hidden borders.
    probes_every: NonNegativeInt = 100
    # Held-out crops that D is asked about, over all devices together.
    held_out_crops: PositiveInt = 8


# What a training of an earlier version may have in its section, and is nothing any more.
RETIRED = ("compile", "stop")


class TrainConfig(Section):
    """Length, cadence and machinery of a training."""

    # Steps on E alone before the losses above (a fresh Adam follows); 0: none.
    pretrain_steps: NonNegativeInt = 0
    # What G begins with, to be trained further: a generator's weights, or the folder of a run, or
    # the published state dict of generator.source (.pth, .safetensors).
    initial_weights: AnyPath | None = None
    pretrain_learning_rate: PositiveFloat = 1e-4  # of G on E alone
    steps: PositiveInt = 100_000  # after those on E alone
    # Steps that the log calls an epoch (crops are random, so a pass over the images says little).
    epoch_steps: PositiveInt = 1000
    # Images per batch over all devices together.
    batch_size: PositiveInt = 16
    # Batches to a step of D and of G, whose gradients are averaged: for little memory.
    accumulate_batches: PositiveInt = 1
    seed: NonNegativeInt = 0  # of everything random
    ema_decay: Fraction = 0.999  # per step, of the averaged generator
    # Of what the networks compute; 16-mixed: with a loss scale, for GPUs without bf16.
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    devices: PositiveInt = 1  # processes, one per device
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"  # auto: the fastest there is
    # Means of speed; a training resumed with other ones goes on, but not to the bit.
    cuda_graphs: Switch = "auto"  # the networks' passes replayed from CUDA graphs, on a GPU
    channels_last: Switch = "auto"  # the memory format of weights and images
    fused_adam: Switch = "auto"  # one kernel for all weights
    log_every: PositiveInt = 100  # steps between log lines
    sample_every: PositiveInt = 1000  # steps between samples, and held-out metrics
    checkpoint_every: PositiveInt = 1000  # steps between checkpoints
    # The newest ones; the one whose held-out metrics are nearest to the ideal is kept beside them.
    keep_checkpoints: PositiveInt = 3

    @model_validator(mode="before")
    @classmethod
    def _drop_settings_of_earlier_versions(cls, values: Any) -> Any:
        if isinstance(values, dict):
            return {name: value for name, value in values.items() if name not in RETIRED}
        return values


class RunConfig(Section):
    """Everything that a run is made from; written to its folder as `config.yaml`, first."""

    generator: GeneratorConfig = GeneratorConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    data: DataConfig = DataConfig()
    features: FeaturesConfig = FeaturesConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    balance: BalanceConfig = BalanceConfig()
    sensors: SensorsConfig = SensorsConfig()
    train: TrainConfig = TrainConfig()
