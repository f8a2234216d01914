"""What no single section of a configuration can see: combinations that cannot work."""

from collections.abc import Callable
from functools import partial

from counterpoise.balance import policies
from counterpoise.config import DegradationConfig, RunConfig
from counterpoise.config_file import Problem
from counterpoise.errors import UserError
from counterpoise.metrics.functional import SSIM_WINDOW_PX
from counterpoise.models.discriminator import check_discriminator
from counterpoise.models.generator import GENERATORS


def check_training(config: RunConfig) -> list[Problem]:
    """The impossible combinations of a configuration, for `config_file.load_config`."""
    data, scale, train = config.data, config.generator.scale, config.train
    devices = train.devices
    features, adversarial = config.features, config.loss.adversarial
    penalised = adversarial.r1 or adversarial.r2 or adversarial.gradient_penalty
    mixed = adversarial.weight and penalised and config.discriminator.norm == "batch"
    unread = features.weights is not None and features.extractor == "embedded"
    least_px = SSIM_WINDOW_PX + 2 * scale
    degradation = config.generator.degradation
    degrades = degradation.name == "real-esrgan"
    idle = not degrades and degradation != DegradationConfig(name=degradation.name)
    wrong = [
        ("data.crop_px", data.crop_px % scale, f"must be a multiple of generator.scale {scale}"),
        ("data.crop_px", data.crop_px < least_px, f"must be at least {least_px} for the metrics"),
        ("data.held_out_px", data.held_out_px < data.crop_px, "must be at least data.crop_px"),
        ("train.batch_size", train.batch_size % devices, f"{devices} devices cannot share it"),
        ("features.weights", unread, "only read with features.extractor=vgg19 or auto"),
        ("generator.degradation", idle, "only real-esrgan draws from ranges; set its name"),
        ("data.lr_folders", degrades and data.lr_folders, "given LR images cannot be degraded"),
        ("discriminator.norm", mixed, "with it no image has a gradient of its own; use another"),
    ]
    problems = policies.check_balance(config)
    problems += _refused("generator.name", lambda: GENERATORS[config.generator.name])
    if adversarial.weight:
        check = partial(check_discriminator, config.discriminator, data.crop_px)
        problems += _refused("discriminator", check)
    problems += [Problem(key, why) for key, is_so, why in wrong if is_so]
    balance = config.balance
    if adversarial.weight and not policies.policy_problems(balance.policy, balance.options):
        policy = policies.build_policy(balance.policy, balance.options)
        problems += policies.objective_problems(policy, adversarial.form)
    return problems


def _refused(key: str, check: Callable[[], object]) -> list[Problem]:
    """What a check that raises `UserError` has against the value of a key."""
    try:
        check()
    except UserError as error:
        return [Problem(key, str(error))]
    return []
