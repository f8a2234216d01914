"""`presets` behind the command line; without what only a training needs, which takes seconds."""

from counterpoise.balance.policies import POLICIES, policy_options
from counterpoise.commands.console import say
from counterpoise.config_file import preset_names
from counterpoise.losses.adversarial import ADVERSARIAL_FORMS
from counterpoise.models.discriminator import DISCRIMINATORS
from counterpoise.models.generator import GENERATORS


def run() -> None:
    """Print the names of the presets, and of all that a configuration chooses by name."""
    choices = {
        "presets": preset_names(),
        "generator.name": GENERATORS,
        "discriminator.name": DISCRIMINATORS,
        "loss.adversarial.form": ADVERSARIAL_FORMS,
    }
    for title, names in choices.items():
        say(f"{title}: {', '.join(names)}")
    say("balance.policy, with its balance.options:")
    for name, policy in POLICIES.items():
        options = ", ".join(f"{key}={value}" for key, value in policy_options(policy).items())
        say(f"  {name:<17}{options}".rstrip())
