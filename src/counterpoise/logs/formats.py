"""The text formats that are known. One scanner reads `name: number` pairs of any line; a format
says which line betrays it, where that stands in the training, and what its own names mean."""

import re
from dataclasses import dataclass, field

from counterpoise.logs.names import EPOCH_NAMES, G_CONTENT, STEP_NAMES
from counterpoise.logs.runs import Position
from counterpoise.registry import Registry

# Digits are never given back (`++`): a long line must cost no more than its length.
NUMBER = r"[-+]?(?:(?:\d++(?:,\d++)*+(?:\.\d*+)?+|\.\d++)(?:[eE][-+]?\d++)?+|nan|inf(?:inity)?)"
STEP_DIGITS = 15  # longer numbers count no steps
# Letters of the scripts in use; a class of this kind is matched sooner than `[^\W\d]`.
_LETTERS = r"A-Za-z_\u00c0-\u1fff\u3040-\ud7ff"
# A name begins where its letters do and has at most twelve words, for the same reason.
_NAME = (
    rf"(?<![{_LETTERS}])(?P<name>[{_LETTERS}][\w()]*+"
    rf"(?:[ /.-][{_LETTERS}(][\w()]*+){{0,11}}+)"
)
# Before a space "nan" is no word of a name, but the number.
_SPACED_NAME = _NAME.replace("[ /.-]", r"[ /.-](?!(?:nan|inf(?:inity)?)\b)")
# How libraries print a number of theirs: tensor(0.7, device="cuda:0"), np.float64(0.7), [0.7].
_WRAPPED = r"(?:(?:tensor|(?:device)?array|(?:tf|np|numpy|jnp)\.\w++)\()?+[\[(]{0,3}+"
# name : number, with a second number after a slash (D(G(z)): before / after), maybe in per cent.
PAIR = re.compile(
    rf"{_NAME}\.?['\"]?\s*+[:=\uff1a]\s*+{_WRAPPED}"
    rf"(?P<number>{NUMBER})(?!\w|:\d)(?:\s*/\s*(?P<second>{NUMBER}))?\s*(?P<percent>%)?",
    re.IGNORECASE,
)
# name number: of lines without any pair of the former kind that is known.
SPACED_PAIR = re.compile(
    rf"{_SPACED_NAME}\s++\(?(?P<number>{NUMBER})(?![\w:])(?P<second>(?!))?(?P<percent>(?!))?",
    re.IGNORECASE,
)


def value_of(text: str) -> float:
    """A number as it is printed. A single comma without a point is that of 0,693: who groups the
    digits of a loss prints a point, too. Raises `ValueError` for what is no number."""
    if "," in text:
        grouped = "." in text or text.count(",") > 1
        text = text.replace(",", "" if grouped else ".")
    return float(text)


def whole(text: str | None) -> int | None:
    """A printed whole number, commas between its digits or not; None for what is none."""
    digits = "" if text is None else text.replace(",", "")
    return int(digits) if digits.isdecimal() and len(digits) <= STEP_DIGITS else None


@dataclass(frozen=True)
class LineFormat:
    """One log format of text lines."""

    name: str
    title: str  # a line of it
    # Betrays a line of the format and says where it stands, by groups `epoch`, `step` and `total`.
    place: re.Pattern[str]
    first_epoch: int = 0  # what the log calls its first epoch
    # Plain names that mean something else here than elsewhere, or nothing ("").
    names: dict[str, str] = field(default_factory=dict)
    # Whether names may end with the pair of networks that they are of ("_A").
    has_pairs: bool = False
    d_loss_is_mean: bool = False  # whether its loss of D is the mean of the two halves

    def position(self, line: str) -> Position | None:
        """The position of a line in the training; None for a line of something else."""
        match = self.place.search(line)
        if match is None:
            return None
        groups = match.groupdict()
        epoch, step, total = (whole(groups.get(name)) for name in ("epoch", "step", "total"))
        return Position(step, None if epoch is None else epoch + 1 - self.first_epoch, total)


_GENERIC_STEP = re.compile(
    rf"\b(?:{'|'.join(STEP_NAMES)})\b\W{{0,12}}(?P<step>\d[\d,]*+)(?!\s*%)"
    r"(?:\s*/\s*(?P<total>\d+))?",
    re.IGNORECASE,
)
_GENERIC_EPOCH = re.compile(
    rf"\b(?:{'|'.join(EPOCH_NAMES)})\b\W{{0,12}}(?P<epoch>\d+)", re.IGNORECASE
)
# A number that a line begins with ("0 [D loss: ...").
_LEADING = re.compile(r"^\s*(?P<step>\d+)\s+\[(?P<total>(?!))?")
_BAR = re.compile(r"(?:^|\s)(?P<step>\d+)/(?P<total>\d+)\s*(?:\[|\u2501|-|\|)")
_FRACTION = re.compile(r"\[\s*(?P<step>\d+)\s*/\s*(?P<total>\d+)\s*\]")


def generic_position(line: str) -> Position:
    """What a line of an unknown format says of its place; nothing at all is allowed."""
    step, epoch = _GENERIC_STEP.search(line), _GENERIC_EPOCH.search(line)
    bar = _BAR.search(line) if step is None else None
    step = step or bar or _LEADING.search(line) or _FRACTION.search(line)
    total = whole(step["total"]) if step else None
    return Position(
        step=whole(step["step"]) if step else None,
        epoch=whole(epoch["epoch"]) if epoch else None,
        epoch_steps=None if bar and not epoch else total,
        bar_steps=total if bar and not epoch else None,
    )


def _place(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_EPOCH_BATCH = r"\[Epoch (?P<epoch>\d+)/\d+\]\s*\[Batch (?P<step>\d+)/(?P<total>\d+)\]"

_ROWS = (
    LineFormat(
        "epoch-step",
        "Epoch 1/5 - Step: 100/9338  Loss G: ...  Loss D: ...  D(x): ...",
        _place(r"Epoch (?P<epoch>\d+)/\d+ - Step: (?P<step>\d+)/(?P<total>\d+)"),
        first_epoch=1,
    ),
    LineFormat(
        "dcgan-tutorial",
        "[0/5][50/1583]\tLoss_D: ...\tLoss_G: ...\tD(x): ...\tD(G(z)): ... / ...",
        _place(r"\[(?P<epoch>\d+)/\d+\]\s*\[(?P<step>\d+)/(?P<total>\d+)\]"),
        names={"acc": ""},  # a classifier's (ACGAN)
    ),
    LineFormat(
        "keras-gan",
        "[Epoch 0/200] [Batch 0/400] [D loss: ..., acc:  62%] [G loss: ...] time: 0:00:12",
        _place(_EPOCH_BATCH + "(?=.* acc: .* time: )"),
        names={"adv": "g_adversarial", "recon": G_CONTENT, "id": G_CONTENT},
        d_loss_is_mean=True,
    ),
    LineFormat(
        "pytorch-gan",
        "[Epoch 0/200] [Batch 0/938] [D loss: ...] [G loss: ...]",
        _place(_EPOCH_BATCH),
        names=dict.fromkeys(("pixel", "content", "cycle", "identity", "recon"), G_CONTENT)
        | {"adv": "g_adversarial", "acc": ""},  # its accuracies are a classifier's
        d_loss_is_mean=True,
    ),
    LineFormat(
        "kair",
        "<epoch: 12, iter: 5,000, lr:1.000e-04> G_loss: ... D_real: ... D_fake: ...",
        _place(r"<epoch:\s*\d+,\s*iter:\s*(?P<step>\d+(?:,\d+)*)"),
        # Its G_loss is the pixel term, F_loss the features', D_loss G's adversarial term.
        names={
            "g_loss": G_CONTENT,
            "f_loss": G_CONTENT,
            "d_loss": "g_adversarial",
            "d_real": "real_logit_mean",
            "d_fake": "fake_logit_mean",
        },
    ),
    LineFormat(
        "basicsr",
        "[epoch:  0, iter:   1,000, lr:(1.000e-04,)] l_g_gan: ... l_d_real: ...",
        _place(r"epoch:\s*[\d,]+?,?\s*\]?\s*\[?\s*iter:\s*(?P<step>\d+(?:,\d+)*)"),
    ),
    LineFormat(
        "pix2pix",
        "(epoch: 1, iters: 100, time: 0.1, data: 0.2) G_GAN: ... G_L1: ... D_real: ...",
        _place(r"\(epoch: (?P<epoch>\d+), iters: (?P<step>\d+)"),
        first_epoch=1,
        names={
            "d_real": "d_loss_real",
            "d_fake": "d_loss_fake",
            "gan": "g_adversarial",  # SPADE's
            "g": "g_adversarial",  # CycleGAN's, of each pair
        }
        | dict.fromkeys(("gan_feat", "vgg", "cycle", "idt"), G_CONTENT),
        has_pairs=True,
        d_loss_is_mean=True,
    ),
    LineFormat(
        "machine-learning-mastery",
        ">1, 1/936, d1=..., d2=... g=...",
        _place(r"^>(?P<epoch>\d+), (?P<step>\d+)/(?P<total>\d+), (?=[cd]1=)"),
        first_epoch=1,
        names={"d1": "d_loss_real", "d2": "d_loss_fake", "c1": "d_loss_real", "c2": "d_loss_fake"},
    ),
)
FORMATS: Registry[LineFormat] = Registry("log format", *((row.name, row) for row in _ROWS))
