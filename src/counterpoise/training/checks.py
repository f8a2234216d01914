"""What no single section of a configuration can see: combinations that cannot work."""

from collections.abc import Callable

from counterpoise.balance.policies import (
    build_policy,
    check_balance,
    objective_problems,
    policy_problems,
)
from counterpoise.config import RunConfig
from counterpoise.config_file import Problem
from counterpoise.errors import UserError
from counterpoise.losses.adversarial import ADVERSARIAL_FORMS
from counterpoise.metrics.functional import SSIM_WINDOW_PX
from counterpoise.models.discriminator import check_crop, check_norm
from counterpoise.models.generator import GENERATORS


def check_training(config: RunConfig) -> list[Problem]:
    """The impossible combinations of a configuration, for `config.load_config`."""
    problems = check_balance(config)
    problems += _refused("generator.name", lambda: GENERATORS[config.generator.name])
    wrong_discriminator = _refused("discriminator", lambda: check_norm(config.discriminator))
    problems += wrong_discriminator
    if config.data.crop_px % config.generator.scale:
        problems.append(
            Problem(
                "data.crop_px", f"must be a multiple of generator.scale {config.generator.scale}"
            )
        )
    if config.data.held_out_px < config.data.crop_px:
        problems.append(Problem("data.held_out_px", "must be at least data.crop_px"))
    if config.train.batch_size % config.train.devices:
        problems.append(
            Problem(
                "train.batch_size", f"must be a multiple of train.devices {config.train.devices}"
            )
        )
    least_px = SSIM_WINDOW_PX + 2 * config.generator.scale
    if config.data.crop_px < least_px:
        problems.append(
            Problem("data.crop_px", f"must be at least {least_px}, the smallest image with metrics")
        )
    if config.features.weights is not None and config.features.extractor == "embedded":
        problems.append(
            Problem(
                "features.weights",
                "not read with the embedded filter bank; set features.extractor=vgg19 to use it",
            )
        )
    if config.loss.adversarial.weight:
        problems += _check_game(config)
        if not wrong_discriminator:
            crop_px = config.data.crop_px
            problems += _refused("data.crop_px", lambda: check_crop(config.discriminator, crop_px))
    return problems


def _refused(key: str, check: Callable[[], object]) -> list[Problem]:
    """What a check that raises `UserError` has against the value of a key."""
    try:
        check()
    except UserError as error:
        return [Problem(key, str(error))]
    return []


def _check_game(config: RunConfig) -> list[Problem]:
    problems, adversarial, balance = [], config.loss.adversarial, config.balance
    form = ADVERSARIAL_FORMS[adversarial.form]
    if not policy_problems(balance.policy, balance.options):
        problems += objective_problems(
            build_policy(balance.policy, balance.options),
            adversarial.form,
            halves_are_independent=form.halves_are_independent,
            has_probability=form.has_probability,
        )
    penalised = adversarial.r1 or adversarial.r2 or adversarial.gradient_penalty
    if penalised and config.discriminator.norm == "batch":
        problems.append(
            Problem(
                "discriminator.norm",
                "batch norm mixes the images of a batch, so the penalties' gradients of single "
                "images do not exist; use instance, spectral or none",
            )
        )
    return problems
