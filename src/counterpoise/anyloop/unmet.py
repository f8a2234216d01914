"""What a policy asks for and a loop does not do, in words."""

import logging
from collections.abc import Iterator

from counterpoise.anyloop.turn import Turn
from counterpoise.records import Action

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


def unmet(
    turn: Turn, action: Action, *, halves_chosen: bool, smoothing_helps: bool
) -> Iterator[tuple[str, str, int]]:
    """Key, message and level of what the turn did not do of its action; `halves_chosen`: D's loss
    came from `step.loss`; `smoothing_helps`: smoothed labels would change the objective."""
    one_half = action.d_steps and not (action.d_trains_on_real and action.d_trains_on_fake)
    if (one_half or action.lecam_weight) and not halves_chosen:
        yield "halves", NEEDS_LOSS, logging.WARNING
    if action.label_smoothing and smoothing_helps and not halves_chosen:
        yield "smoothing", SMOOTHING_NEEDS_LOSS, logging.INFO
    if turn.d_stepped_early and (not action.d_steps or action.d_learning_rate_scale != 1):
        yield "early", STEPPED_EARLY, logging.WARNING
    unweighed = turn.g_updated and not turn.g_backwards and not turn.g_adversarial
    if unweighed and action.adversarial_weight_scale != 1:
        yield "weight", WEIGHT_NEEDS_BACKWARD, logging.WARNING
    # A loop may read the number before the turn begins.
    if min(action.d_steps, turn.d_steps_before) > turn.d_parts:
        yield "d_steps", needs_steps("D", "d_steps", action.d_steps), logging.WARNING
