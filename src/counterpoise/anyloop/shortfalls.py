"""What a policy asks for and a loop does not do, in words."""

import logging
from collections.abc import Collection, Iterator

from counterpoise.anyloop.tap import Phase
from counterpoise.game.turn import Turn

NEEDS_LOSS = (
    "the policy trains D on one half of its loss, or adds a regulariser to it, and cannot in this "
    "loop: back-propagate step.loss(real=..., fake=...) in D's part"
)
SMOOTHING_NEEDS_LOSS = (
    "the policy would smooth D's labels, and cannot in this loop: back-propagate "
    "step.loss(real=..., fake=...) in D's part to have that too"
)
STEPPED_EARLY = (
    "the policy rests D or changes its learning rate, and cannot in this loop: D's optimizer steps "
    "before D has judged both real and fake images in its part"
)
WEIGHT_NEEDS_BACKWARD = (
    "the policy weighs G's adversarial term, and cannot in this loop, which trains G without a "
    "backward pass: put the term through step.adversarial(...) in G's part"
)
NEEDS_STEPS = (
    "the policy asks for {count} steps of {network} in a turn; repeat that part of the loop "
    "balance.action.{field} times, on fresh batches"
)


def needs_steps(network: str, field: str, count: int) -> str:
    """That a part of the loop should be repeated."""
    return NEEDS_STEPS.format(count=count, network=network, field=field)


def shortfalls(
    turn: Turn, g_phase: Phase, stepped_early: Collection[str]
) -> Iterator[tuple[str, str, int]]:
    """Key, message and level of what a turn did not do of its actions; `stepped_early`: the Ds
    whose optimizer stepped before there was anything to decide on."""
    unweighed = turn.g_updated and not g_phase.backwards
    for name, part in turn.ds.items():
        action, objective = part.asked, part.player.objective
        one_half = action.d_steps and not (action.d_trains_on_real and action.d_trains_on_fake)
        if (one_half or action.lecam_weight) and not part.has_d_loss:
            yield "halves", NEEDS_LOSS, logging.WARNING
        smoothing_helps = objective is not None and objective.form.smoothing_slope != 0
        if action.label_smoothing and smoothing_helps and not part.has_d_loss:
            yield "smoothing", SMOOTHING_NEEDS_LOSS, logging.INFO
        rests_or_slows = not action.d_steps or action.d_learning_rate_scale != 1
        if name in stepped_early and rests_or_slows:
            yield "early", STEPPED_EARLY, logging.WARNING
        if unweighed and name not in turn.adversarial and action.adversarial_weight_scale != 1:
            yield "weight", WEIGHT_NEEDS_BACKWARD, logging.WARNING
        # A loop may read the number before the turn begins.
        if min(action.d_steps, part.d_steps_before) > part.parts:
            yield "d_steps", needs_steps("D", "d_steps", action.d_steps), logging.WARNING
