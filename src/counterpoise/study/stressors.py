"""The troubles that every strategy of the gauntlet is put through."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from counterpoise.registry import Registry
from counterpoise.study.setting import Setting

SAMPLES, IMAGES = frozenset({"ring", "grid"}), frozenset({"digits", "sr"})
EVERYWHERE = SAMPLES | IMAGES


@dataclass(frozen=True)
class Stressor:
    """A change of a setting after the strategy's own, and the tasks where it changes anything."""

    description: str
    apply: Callable[[Setting], Setting]
    tasks: frozenset[str] = EVERYWHERE


def _least_squares_behind_sigmoid(setting: Setting) -> Setting:
    """Strategies that leave the objective alone train on squared errors; the others keep theirs."""
    form = "lsgan-on-sigmoid" if setting.form == "non-saturating" else setting.form
    return replace(setting, form=form, d_ends_in_sigmoid=True)


STRESSORS: Registry[Stressor] = Registry(
    "stressor",
    ("none", Stressor("nothing: the task as it is", lambda s: s, EVERYWHERE | {"seed", "sr-full"})),
    (
        "d-lr-x10",
        Stressor(
            "D's learning rate times 10",
            lambda s: replace(s, d_learning_rate=10 * s.d_learning_rate),
        ),
    ),
    (
        "g-lr-x10",
        Stressor(
            "G's learning rate times 10",
            lambda s: replace(s, g_learning_rate=10 * s.g_learning_rate),
        ),
    ),
    ("d-wide", Stressor("D four times wider", lambda s: replace(s, d_width=4 * s.d_width))),
    (
        "d-tiny",
        Stressor("D eight times narrower", lambda s: replace(s, d_width=max(2, s.d_width // 8))),
    ),
    ("batch-4", Stressor("batches of 4", lambda s: replace(s, batch_size=4))),
    (
        "lsgan-sigmoid",
        Stressor("D ends in a sigmoid, squared errors behind it", _least_squares_behind_sigmoid),
    ),
    (
        "no-content",
        Stressor("no content loss", lambda s: replace(s, content_weight=0.0), frozenset({"sr"})),
    ),
    (
        "few-samples",
        Stressor(
            "20 training samples (D can memorise them)",
            lambda s: replace(s, train_samples=20),
            EVERYWHERE - {"grid"},
        ),
    ),
    (
        "no-norm",
        Stressor("no normalisation in D", lambda s: replace(s, d_norm="none"), IMAGES),
    ),
    (
        "label-noise",
        Stressor(
            "a fifth of D's samples under the wrong label", lambda s: replace(s, label_noise=0.2)
        ),
    ),
    (
        "late-shock",
        Stressor("D's learning rate times 10 from half time on", lambda s: replace(s, shock=10.0)),
    ),
    (
        "batchnorm-split",
        Stressor(
            "batch normalisation in D, real and fake in separate batches",
            lambda s: replace(s, d_norm="batch", d_joint_batch=False),
        ),
    ),
)
