"""The table of balance policies, and how one is made from a configuration."""

from dataclasses import fields
from typing import Any

from pydantic import ValidationError

from counterpoise.balance import auto, fixed, gates, regularisers, scales
from counterpoise.balance.policy import Policy
from counterpoise.config import RunConfig
from counterpoise.config_file import Problem, problems_of
from counterpoise.errors import UserError
from counterpoise.objectives import OBJECTIVES
from counterpoise.registry import Registry

POLICIES: Registry[type[Policy]] = Registry(
    "policy",
    ("none", fixed.NonePolicy),
    ("ratio", fixed.RatioPolicy),
    ("threshold", gates.ThresholdPolicy),
    ("loss-gate", gates.LossGatePolicy),
    ("ttur", fixed.TturPolicy),
    ("accuracy-band", scales.AccuracyBandPolicy),
    ("ada", regularisers.AdaPolicy),
    ("gap-lr", scales.GapLearningRatePolicy),
    ("skip-band", gates.SkipBandPolicy),
    ("win-rate", gates.WinRatePolicy),
    ("gradient-balance", scales.GradientBalancePolicy),
    ("instance-noise", fixed.InstanceNoisePolicy),
    ("lecam", regularisers.LeCamPolicy),
    ("auto", auto.AutoPolicy),
)


def policy_options(policy: type[Policy]) -> dict[str, Any]:
    """The options of a policy with their defaults."""
    defaults = policy()
    return {f.name: getattr(defaults, f.name) for f in fields(policy) if f.init}  # type: ignore[arg-type]


def build_policy(name: str, options: dict[str, Any]) -> Policy:
    """A fresh policy; `UserError` for an unknown name, option or value."""
    problems = policy_problems(name, options)
    if problems:
        raise UserError("; ".join(f"{p.path}: {p.message}" for p in problems))
    return POLICIES[name](**options)


def check_balance(config: RunConfig) -> list[Problem]:
    """The problems of a configuration's balance section, for `config_file.load_config`."""
    name = config.balance.policy
    problems = policy_problems(name, config.balance.options)
    if name != "none" and not config.loss.adversarial.weight:
        message = f"'{name}' has nothing to balance: loss.adversarial.weight is 0"
        problems.append(Problem("balance.policy", message))
    if name in POLICIES and POLICIES[name].needs_sensors and not config.sensors.every:
        message = f"'{name}' steers by the sensors' readings: set it above 0"
        problems.append(Problem("sensors.every", message))
    return problems


def objective_problems(policy: Policy, objective: str) -> list[Problem]:
    """What a policy cannot do under an adversarial objective."""
    facts = OBJECTIVES[objective]
    if isinstance(policy, gates.LossGatePolicy) and facts.compares_scores:
        message = "'loss-gate' trains D on one half of its loss, and the halves of "
        return [Problem("balance.policy", f"{message}'{objective}' cannot be told apart")]
    needs_band = isinstance(policy, gates.SkipBandPolicy) or (
        isinstance(policy, scales.GapLearningRatePolicy) and not (policy.x_min and policy.x_max)
    )
    if needs_band and not facts.equilibrium_d_loss:
        message = f"D's loss at equilibrium is 0 under '{objective}', and this needs shares of it"
        return [Problem("balance.policy", message)]
    of_output = isinstance(policy, gates.ThresholdPolicy) and policy.measure == "mean-output"
    if of_output and not facts.has_probability:
        message = f"D(x) is no probability under '{objective}'; use accuracy"
        return [Problem("balance.options.measure", message)]
    return []


def policy_problems(name: str, options: dict[str, Any]) -> list[Problem]:
    """What is wrong with a policy's name or options, by key path."""
    if name not in POLICIES:
        message = f"unknown policy '{name}'; known: {', '.join(POLICIES)}"
        return [Problem("balance.policy", message)]
    known = policy_options(POLICIES[name])
    others = f"unknown option of policy '{name}'; known: {', '.join(known) or 'it has none'}"
    problems = [Problem(f"balance.options.{key}", others) for key in options if key not in known]
    try:
        POLICIES[name](**{key: value for key, value in options.items() if key in known})
    except ValidationError as error:
        problems += problems_of(error, "balance.options")
    return problems
