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
EPOCH_NAMES = ("epoch", "epochs", "epoch_train", "epoch_num", "epoch_idx")
# Recognised in any format; values are columns of a trace.
SPELLINGS: dict[str, tuple[str, ...]] = {
    "g_loss": (
        "loss_g", "g_loss", "err_g", "generator_loss", "loss_gen", "gen_cost", "lossg", "gloss",
        "errg", "gan_g_loss", "g",
    ),
    "d_loss": (
        "loss_d", "d_loss", "err_d", "discriminator_loss", "critic_loss", "disc_cost", "lossd",
        "dloss", "errd", "w_loss", "wasserstein_loss", "d",
    ),
    "d_loss_real": ("d_loss_real", "loss_d_real", "errd_real", "real_loss", "lossd_real"),
    "d_loss_fake": ("d_loss_fake", "loss_d_fake", "errd_fake", "fake_loss", "lossd_fake"),
    "d_real": ("d_x", "d_real", "real_score", "prob_real", "d_out_real", "dx", "d_hr"),
    "d_fake_before": (
        "d_g_z", "d_fake", "fake_score", "prob_fake", "d_out_fake", "d_g_z1", "d_g_z_1", "d_gz",
        "d_g_z_before", "dgz", "dgz1", "d_gz1", "d_sr",
    ),
    "d_fake_after": ("d_g_z2", "d_g_z_2", "d_g_z_after", "dgz2", "d_gz2"),
    "real_logit_mean": (
        "out_d_real", "logits_real", "real_logits", "loss_scores_real", "disc_pred_real",
    ),
    "fake_logit_mean": (
        "out_d_fake", "logits_fake", "fake_logits", "loss_scores_fake", "disc_pred_fake",
    ),
    "d_accuracy": ("d_acc", "d_accuracy", "acc_d", "disc_acc", "acc", "accuracy"),
    "d_accuracy_real": ("d_acc_real", "acc_real", "real_acc", "accuracy_real", "d_real_acc"),
    "d_accuracy_fake": ("d_acc_fake", "acc_fake", "fake_acc", "accuracy_fake", "d_fake_acc"),
    "g_adversarial": (
        "g_gan", "loss_g_gan", "adv_loss", "gan_loss", "l_g_gan", "g_loss_adv", "adv",
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
# Words that make a known name another number: of a validation, of a classifier, of a term of G's.
_OF_ANOTHER = frozenset(
    ("val", "valid", "validation", "dev", "test", "eval", "best", "cls", "class", "classifier",
     "aux", "feature", "feat", "matching", "recon", "rec", "perceptual", "pixel", "vgg")
)  # fmt: skip
# Words that names of losses are made of, in any order, and what each says.
_WORDS: dict[str, str] = {
    word: what
    for what, words in {
        "D": "d disc discriminator discrim discr dis critic netd distriminator",  # CTGAN's
        "G": "g gen generator netg",
        "E": "encoder enc",  # of what D judges: its losses are G's, where D is named too
        "loss": "loss losses err error cost l",
        "real": "real",
        "fake": "fake",
        "adversarial": "adv adversarial gan generation",
        "accuracy": "acc accuracy",
        "total": "total",
        "": "binary train training trn tr sum avg mean step epoch of on",
    }.items()
    for word in words.split()
}
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
    found = mapping.get(name) or KNOWN.get(name) or _by_words(name.split("_"))
    of_g = False
    for _ in range(most_before):
        word, _, name = name.partition("_")
        if found is not None or not name or word in _OF_ANOTHER:
            break
        of_g |= _WORDS.get(word) in ("G", "E")
        if len(name) > 1 and name not in AMBIGUOUS:
            found = mapping.get(name) or KNOWN.get(name)
            if found is None and word not in _WORDS:
                found = _by_words(name.split("_"))
    return None if of_g and found is not None and not found.startswith("g_") else found


def _by_words(words: list[str]) -> str | None:
    """The column of a name that is made of words of losses alone, in any order."""
    each = [_WORDS.get(word) for word in words]
    if None in each or len(words) < 2:
        return None
    of_d, of_g = "D" in each, "G" in each or "E" in each
    half = "real" in each, "fake" in each
    if "accuracy" in each:
        side = "_real" if half == (True, False) else "_fake" if half == (False, True) else ""
        return None if of_g or not (of_d or side) else f"d_accuracy{side}"
    if "loss" not in each and not ("total" in each and of_d != of_g):
        if any(half):
            return None if of_g or not of_d else "d_real" if half[0] else "d_fake_before"
        return "g_adversarial" if "G" in each and "adversarial" in each and not of_d else None
    if of_d and of_g:  # G's loss that D gives, unless D comes first
        of_d_first = each.index("D") < min(each.index(w) for w in ("G", "E") if w in each)
        return None if of_d_first or any(half) else "g_adversarial"
    if any(half):
        return None if of_g or all(half) else "d_loss_real" if half[0] else "d_loss_fake"
    if of_d:
        return "d_loss"
    if "adversarial" in each:
        return "g_adversarial"
    return "g_loss" if "G" in each else None


def names_network(name: str) -> bool:
    """Whether a name begins with that of a network."""
    return _WORDS.get(plain(name).partition("_")[0]) in ("D", "G")


def may_be_loss(name: str) -> bool:
    """Whether a name that is not known looks like that of a loss of the game."""
    words = plain(name).split("_")
    return not _OF_ANOTHER & set(words) and any(
        _WORDS.get(word) in ("D", "G", "loss", "adversarial") or word.endswith(("loss", "losses"))
        for word in words
    )


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
