"""The adversarial forms and G's other terms, from the code that computes them."""

import ast
import inspect
import math

from counterpoise.losses import adversarial
from counterpoise.losses.adversarial import ADVERSARIAL_FORMS, AdversarialForm
from counterpoise.losses.generator_loss import perceptual_loss, pixel_loss, texture_loss
from counterpoise.losses.penalties import gradient_penalty, r1_penalty
from counterpoise.objectives import OBJECTIVES
from generated import Pages
from generated.markdown import as_markdown, code, docstring, fence, table

CONSTANTS = {math.log(4): "ln 4", math.log(2): "ln 2"}
TERMS = {
    "E": ("loss.pixel.weight", pixel_loss),
    "P": ("loss.perceptual.layers", perceptual_loss),
    "T": ("loss.texture.layers", texture_loss),
}
PENALTIES = {
    "loss.adversarial.r1": r1_penalty,
    "loss.adversarial.r2": r1_penalty,
    "loss.adversarial.gradient_penalty": gradient_penalty,
}


def pages() -> Pages:
    """One page with adversarial forms, penalties, content terms, and names of objectives."""
    parts = [
        "# Losses",
        "What G and D minimise. `--set loss.adversarial.form=hinge` chooses a form; every key is "
        "in [Configuration](configuration.md).",
        "## Adversarial forms",
        "All of them work on logits. A sigmoid inside the loss makes LSGAN's gradient vanish where "
        "D is sure: `lsgan-on-sigmoid` shows that. `of_real` and `of_fake` are the halves of D's "
        "loss, of each value on real and on fake images; G's is `of_g`, else `of_real`, of fake "
        "ones. What sees differences (`seen`) has D's loss with the roles exchanged as G's.",
        table(
            ("form", "D's loss at equilibrium", "D(x) is", "G's loss sees real images"),
            [
                (
                    f"[`{name}`](#{name})",
                    _number(form.objective.equilibrium_d_loss),
                    "a probability" if form.objective.has_probability else "a score",
                    "yes" if form.g_needs_real else "no",
                )
                for name, form in ADVERSARIAL_FORMS.items()
            ],
        ),
        *(_form(name, form) for name, form in ADVERSARIAL_FORMS.items()),
        "## Penalties on D",
    ]
    for key, function in PENALTIES.items():
        parts += [f"### `{key}`", docstring(function)]
    parts.append("## Content terms")
    for letter, (key, function) in TERMS.items():
        parts += [f"### {letter}: `{key}`", docstring(function)]
    rows = [
        (
            code(name),
            objective.title,
            ", ".join(code(alias) for alias in objective.aliases),
        )
        for name, objective in OBJECTIVES.items()
    ]
    parts += [
        "## Names of objectives in logs",
        "What `counterpoise diagnose --objective` and `Balance(objective=...)` understand.",
        table(("objective", "what", "also called"), rows),
    ]
    return {"reference/losses.md": "\n\n".join(parts) + "\n"}


def _form(name: str, form: AdversarialForm) -> str:
    """What a form is, and its row as it is written."""
    source = inspect.getsource(adversarial)
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    row = next(c for c in calls if c.args and getattr(c.args[0], "value", "") == name)
    lines = [f"{each.arg} = {ast.unparse(each.value)}" for each in row.keywords]
    return f"### {name}\n\n{as_markdown(form.what)}\n\n" + fence("\n".join(lines), "python")


def _number(value: float) -> str:
    name = next((text for known, text in CONSTANTS.items() if known == value), "")
    return f"{name} = {value:.4f}" if name else f"{value:g}"
