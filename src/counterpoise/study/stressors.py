"""The troubles that every strategy of the gauntlet is put through."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from counterpoise.registry import Registry
from counterpoise.study.task import Setting

IMAGES = frozenset({"digits", "sr"})
EVERYWHERE = IMAGES | {"ring", "grid"}


@dataclass(frozen=True)
class Stressor:
    """A change of a setting after the strategy's own, and the tasks where it changes anything."""

    description: str
    apply: Callable[[Setting], Setting]
    tasks: frozenset[str] = EVERYWHERE


def _put(
    name: str, description: str, tasks: frozenset[str] = EVERYWHERE, **values: object
) -> tuple[str, Stressor]:
    """A stressor that puts values in place of the setting's."""
    return name, Stressor(description, lambda s: replace(s, **values), tasks)  # type: ignore[arg-type]


def _times(name: str, description: str, **factors: int) -> tuple[str, Stressor]:
    """A stressor that multiplies values of the setting."""
    return name, Stressor(
        description,
        lambda s: replace(s, **{key: factor * getattr(s, key) for key, factor in factors.items()}),
    )


def _least_squares_behind_sigmoid(setting: Setting) -> Setting:
    """Strategies that leave the objective alone train on squared errors; the others keep theirs."""
    form = "lsgan-on-sigmoid" if setting.form == "non-saturating" else setting.form
    return replace(setting, form=form, d_ends_in_sigmoid=True)


STRESSORS: Registry[Stressor] = Registry(
    "stressor",
    _put("none", "nothing: the task as it is", EVERYWHERE | {"seed"}),
    _times("d-lr-x10", "D's learning rate times 10", d_learning_rate=10),
    _times("g-lr-x10", "G's learning rate times 10", g_learning_rate=10),
    _times("d-wide", "D four times wider", d_width=4),
    (
        "d-tiny",
        Stressor("D eight times narrower", lambda s: replace(s, d_width=max(2, s.d_width // 8))),
    ),
    _put("batch-4", "batches of 4", batch_size=4),
    (
        "lsgan-sigmoid",
        Stressor("D ends in a sigmoid, squared errors behind it", _least_squares_behind_sigmoid),
    ),
    _put("no-content", "no content loss", frozenset({"sr"}), content_weight=0.0),
    _put(
        "few-samples",
        "20 training samples (D can memorise them)",
        EVERYWHERE - {"grid"},
        train_samples=20,
    ),
    _put("no-norm", "no normalisation in D", IMAGES, d_norm="none"),
    _put("label-noise", "a fifth of D's samples under the wrong label", label_noise=0.2),
    _put("late-shock", "D's learning rate times 10 from half time on", shock=10.0),
    _put(
        "batchnorm-split",
        "batch normalisation in D, real and fake in separate batches",
        d_norm="batch",
        d_joint_batch=False,
    ),
)
