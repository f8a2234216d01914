"""What people call the numbers of a GAN training, and what they are here.

A name is compared in lower case with everything but letters (of any script) and digits as one
underscore, so `Loss_D`, `loss D` and `loss/d` are the same. What a name means may depend on the log
format (`D_real` is a loss in one and an output in another): those are said with the format.
"""

import re
from collections.abc import Mapping

from counterpoise.errors import UserError
from counterpoise.trace import COLUMNS

STEP_NAMES = (
    "step", "global_step", "iter", "iteration", "iters", "it", "batch", "n_iter", "steps", "itr",
)  # fmt: skip
EPOCH_NAMES = ("epoch", "epochs")
# Recognised in any format; values are columns of a trace.
SPELLINGS: dict[str, tuple[str, ...]] = {
    "g_loss": (
        "loss_g", "lossg", "g_loss", "gloss", "errg", "err_g", "generator_loss", "loss_generator",
        "gen_loss", "loss_gen", "gen_cost", "g_total", "loss_g_total", "g_loss_total", "gan_g_loss",
        "train_g_loss", "loss_g_loss", "losses_g", "g",
    ),
    "d_loss": (
        "loss_d", "lossd", "d_loss", "dloss", "errd", "err_d", "discriminator_loss",
        "loss_discriminator", "disc_loss", "loss_disc", "dis_loss", "loss_dis", "disc_cost",
        "critic_loss", "loss_critic", "d_total",
        "loss_d_total", "d_loss_total", "train_d_loss", "loss_d_loss", "losses_d", "l_d",
        "l_d_total", "d",
    ),
    "d_loss_real": (
        "d_loss_real", "loss_d_real", "errd_real", "l_d_real", "d_real_loss", "real_loss",
        "loss_real", "d_loss_on_real", "lossd_real", "loss_disc_real", "disc_loss_real",
    ),
    "d_loss_fake": (
        "d_loss_fake", "loss_d_fake", "errd_fake", "l_d_fake", "d_fake_loss", "fake_loss",
        "loss_fake", "d_loss_on_fake", "lossd_fake", "loss_disc_fake", "disc_loss_fake",
    ),
    "d_real": (
        "d_x", "d_real", "real_score", "d_real_mean", "prob_real", "d_out_real", "dx", "d_hr",
    ),
    "d_fake_before": (
        "d_g_z", "d_g_z1", "d_g_z_1", "d_fake", "fake_score", "d_fake_mean", "prob_fake",
        "d_out_fake", "d_g_z_before", "dgz", "dgz1", "d_gz", "d_gz1", "d_sr",
    ),
    "d_fake_after": ("d_g_z2", "d_g_z_2", "d_g_z_after", "dgz2", "d_gz2"),
    "real_logit_mean": (
        "out_d_real", "logits_real", "real_logits", "loss_scores_real", "disc_pred_real",
    ),
    "fake_logit_mean": (
        "out_d_fake", "logits_fake", "fake_logits", "loss_scores_fake", "disc_pred_fake",
    ),
    "d_accuracy": (
        "d_acc", "d_accuracy", "acc_d", "acc", "accuracy", "d_binary_accuracy", "disc_acc",
        "disc_accuracy", "dis_acc", "discriminator_acc", "discriminator_accuracy", "critic_acc",
    ),
    "d_accuracy_real": (
        "d_acc_real", "acc_real", "real_acc", "accuracy_real", "d_real_acc", "d_real_accuracy",
    ),
    "d_accuracy_fake": (
        "d_acc_fake", "acc_fake", "fake_acc", "accuracy_fake", "d_fake_acc", "d_fake_accuracy",
    ),
    "g_adversarial": (
        "g_gan", "loss_g_gan", "g_adv", "g_adversarial_loss", "adv_loss", "loss_adv", "g_loss_adv",
        "gan_loss", "loss_gan", "l_g_gan", "adversarial_loss", "g_gan_loss", "loss_g_adv",
        "loss_disc_fake_g", "g_terms_adversarial",
    ),
    "d_penalty": ("gp", "gradient_penalty", "d_gp", "r1", "r1_penalty", "l_d_r1"),
    "d_learning_rate": ("lr_d", "d_lr", "learning_rate_d"),
    "g_learning_rate": ("lr_g", "g_lr", "learning_rate_g"),
    "g_gradient_norm": ("grad_norm_g", "g_grad_norm", "gradnorm_g"),
    "d_gradient_norm": ("grad_norm_d", "d_grad_norm", "gradnorm_d"),
}  # fmt: skip
KNOWN: dict[str, str] = {name: name for name in COLUMNS} | {
    spelling: column for column, spellings in SPELLINGS.items() for spelling in spellings
}
# Names of G's other terms: what is left of its loss.
CONTENT = re.compile(
    r"(?:l_g|g|loss_g|loss)_(?:pix(?:el)?|percep(?:tual)?|content|l1|l2|mse|vgg|style|feat|tv|ldl|"
    r"fft|dists|ssim|msssim|hsluv|wavelet|luma|chroma|color|avg|artifacts|fdl|contextual|identity)"
    r"(?:_loss)?|(?:pixel|content|perceptual|vgg|l1|style|percep)_loss|cycle_[ab]|idt_[ab]|"
    r"(?:pixel|content)|adv_?content"
)
G_CONTENT = "g_content"  # the column that is a sum of what is printed
LARGEST_SHARE = 1.5  # whoever prints D's accuracy above this prints per cent
# Words before a known name that make it another number: of a validation, of G, of a classifier.
_OF_ANOTHER = frozenset(
    ("val", "valid", "validation", "dev", "test", "eval", "best",
     "cls", "class", "classifier", "aux")
)  # fmt: skip
# Words of G: what follows is a number of G's, or none that is known.
_OF_G = frozenset(("g", "gen", "generator"))
# Names that do not say whose number it is: with any word before them it may be another model's.
AMBIGUOUS = frozenset(("acc", "accuracy"))
_NOT_PLAIN = re.compile(r"[\W_]+")


def plain(name: str) -> str:
    """A name as it is compared: `D(G(z))` is `d_g_z`."""
    return _NOT_PLAIN.sub("_", name.lower()).strip("_")


def checked_mapping(mapping: Mapping[str, str] | None) -> dict[str, str]:
    """Columns (or `step`) by a user's names, as `plain`; `UserError` for an unknown column."""
    checked = {}
    for theirs, ours in (mapping or {}).items():
        if ours not in COLUMNS and ours != "step":
            known = ", ".join(("step", *list(COLUMNS)[:12]))
            raise UserError(f"--map {theirs}={ours}: no column '{ours}'; there are {known}, ...")
        checked[plain(theirs)] = ours
    return checked


def column_of(name: str, mapping: Mapping[str, str], most_before: int = 0) -> str | None:
    """The column that a plain name is, by the mapping first; None for another number.

    Up to `most_before` words before it may be a logger's or a tracker's ("INFO Loss_D: 1",
    "train/loss_d"), as long as they do not say that the number is something else's.
    """
    found = mapping.get(name) or KNOWN.get(name)
    of_g = False
    for _ in range(most_before):
        word, _, name = name.partition("_")
        if found is not None or not name or word in _OF_ANOTHER:
            break
        of_g |= word in _OF_G
        if len(name) > 1 and name not in AMBIGUOUS:
            found = mapping.get(name) or KNOWN.get(name)
    return None if of_g and found is not None and not found.startswith("g_") else found


def put_value(
    values: dict[str, float], column: str, number: float, *, in_percent: bool = False
) -> None:
    """Add a number to a row's values as what its column is."""
    if column == G_CONTENT:
        values[column] = values.get(column, 0.0) + number
    elif column.startswith("d_accuracy"):
        # The first is D's; after it may come that of the model that G is trained in.
        in_percent |= number > LARGEST_SHARE
        values.setdefault(column, number / 100 if in_percent else number)
    else:
        values[column] = number
