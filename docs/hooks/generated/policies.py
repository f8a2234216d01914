"""The catalogue of balance policies, from their classes."""

from typing import Any

from counterpoise.balance.policies import POLICIES, policy_options
from counterpoise.balance.policy import Policy
from counterpoise.registry import Registry
from generated import Pages
from generated.markdown import code, docstring, first_sentence, source_of, table

NEEDS = {
    "this turn": "It needs the numbers of the very batch that it decides about.",
    "last turn": "The numbers of the turn before are enough for it.",
    "nothing": "It needs no numbers, so a training on a GPU does not wait for them.",
}


def pages(policies: Registry[type[Policy]] = POLICIES) -> Pages:
    """One page with every policy: what it does, its source, its options and their defaults."""
    rows = [
        (
            f"[`{name}`](#{name})",
            first_sentence(docstring(policy))[0],
            source_of(docstring(policy)).partition(";")[0],
        )
        for name, policy in policies.items()
    ]
    parts = [
        "# Policies",
        "What `balance.policy` (and `Balance(policy=...)`) may be. A policy is asked in every step "
        "what to do: train D or not, on which halves of its loss, how many steps of D and of G, at "
        "which learning rates, with which adversarial weight, with how much noise or augmentation "
        "on D's inputs, with R1 or without. This page is made from the classes themselves. How "
        "they fare under stress is what [the gauntlet](../gauntlet.md) measures.",
        table(("policy", "what it does", "source"), rows),
        *(_section(name, policy) for name, policy in policies.items()),
    ]
    return {"reference/policies.md": "\n\n".join(parts) + "\n"}


def _section(name: str, policy: type[Policy]) -> str:
    options = policy_options(policy)
    parts = [f"## {name}", docstring(policy)]
    if policy.needs_sensors:
        parts.append("It needs the sensors: `sensors.every` above 0.")
    parts.append(NEEDS[policy.needs])
    if options:
        rows = [(code(key), code(_shown(value))) for key, value in options.items()]
        parts.append(table(("option", "default"), rows))
    else:
        parts.append("It has no options.")
    key, value = next(iter(options.items()), ("", ""))
    options_text = f", options: {{{key}: {_shown(value)}}}" if options else ""
    parts.append(
        f'```sh\ncounterpoise train --preset demo --set "balance={{policy: {name}{options_text}}}"'
        f"\n```\n\nIts class: `{policy.__module__}.{policy.__qualname__}`."
    )
    return "\n\n".join(parts)


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
