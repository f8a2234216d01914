"""What is done to a game that nobody has tuned for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stressor:
    """A change of the game. The defaults change nothing."""

    name: str
    # Steps that D is trained alone before the first turn.
    d_head_start: int = 0
    # Adam's first beta, of both networks.
    beta1: float | None = None
    # G has so many times fewer channels.
    narrower: int = 1
    # Share of D's real samples that are noise, which G cannot and should not make.
    noise_share: float = 0.0
    # Share of D's steps in which real and fake have each other's labels.
    exchanged_share: float = 0.0
    # From half time on, the batch is so many times smaller.
    late_batch_divisor: int = 1
    # From half time on, the data are others.
    data_change: bool = False
    form: str | None = None
    spectral_norm: bool = False


STRESSORS = {
    stressor.name: stressor
    for stressor in (
        Stressor("none"),
        Stressor("d-head-start", d_head_start=300),
        Stressor("beta1", beta1=0.9),
        Stressor("narrow-g", narrower=8),
        Stressor("noise-as-real", noise_share=0.2),
        Stressor("exchanged-labels", exchanged_share=0.05),
        Stressor("small-batch-late", late_batch_divisor=8),
        Stressor("data-change", data_change=True),
        Stressor("hinge-spectral", form="hinge", spectral_norm=True),
    )
}
